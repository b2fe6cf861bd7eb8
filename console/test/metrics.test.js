// What two readings of /metrics say, without a page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { growth, most, parse, quantile, sum, values } from "../metrics.js";
import { bytes, count, rate, time } from "../words.js";

const READING = `# HELP http_requests_total asked
# TYPE http_requests_total counter
http_requests_total{method="GET",route="/posts/{postId}",status="2xx"} 7
http_requests_total{method="POST",route="/posts",status="5xx"} 2

odd{text="a \\"b\\" \\\\ c\\nd"} 1e3
bare 0.5
`;

test("a reading has every sample with its labels", () => {
  const reading = parse(READING);
  assert.deepEqual([...reading.keys()], ["http_requests_total", "odd", "bare"]);
  assert.deepEqual(reading.get("odd"), [{ labels: { text: 'a "b" \\ c\nd' }, value: 1000 }]);
  assert.equal(sum(reading, "http_requests_total"), 9);
  assert.equal(sum(reading, "http_requests_total", { status: "5xx" }), 2);
  assert.equal(sum(reading, "http_requests_total", { status: "4xx" }), undefined);
  assert.equal(most(reading, "http_requests_total"), 7);
  assert.deepEqual(values(reading, "http_requests_total", "route"), ["/posts", "/posts/{postId}"]);
});

test("a counter that a restart set back counts from zero", () => {
  const [ten, three] = [parse("c 10"), parse("c 3")];
  assert.equal(growth(three, ten, "c"), 7);
  assert.equal(growth(ten, three, "c"), 3);
  assert.equal(growth(new Map(), three, "c"), 3);
});

test("a quantile lies within its bucket, of what came in between", () => {
  const buckets = (a, b, c) => parse(
    `t_bucket{le="0.1"} ${a}\nt_bucket{le="0.2"} ${b}\nt_bucket{le="+Inf"} ${c}`,
  );
  const before = buckets(100, 100, 100);
  assert.equal(quantile(before, before, "t", 0.5), undefined);
  const after = buckets(100, 110, 110);
  assert.ok(Math.abs((quantile(before, after, "t", 0.5) ?? 0) - 0.15) < 1e-9);
  // Beyond the last bound there is only that bound.
  assert.equal(quantile(before, buckets(100, 100, 110), "t", 0.99), 0.2);
  const half = buckets(105, 110, 110);
  assert.ok(Math.abs((quantile(before, half, "t", 0.5) ?? 0) - 0.1) < 1e-9);
});

test("numbers are written as people read them", () => {
  assert.deepEqual([0, 0.0042, 1.5, 300, 90_000, 864_000].map(time),
    ["0 s", "4.20 ms", "1.50 s", "5.00 min", "25.0 h", "10.0 d"]);
  assert.deepEqual([12, 5_300_000].map(bytes), ["12 B", "5.30 MB"]);
  assert.deepEqual([0, 0.5, 1234].map(rate), ["0/s", "0.50/s", "1234/s"]);
  assert.equal(count(undefined), "–");
});
