// Addresses, times, cursors, and that both languages say everything.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { START, follow, pause } from "../cursor.js";
import { en } from "../i18n/en.js";
import { ja } from "../i18n/ja.js";
import { after, match } from "../routes.js";
import { ago, exactly, month, short } from "../time.js";

test("addresses stand for pages", () => {
  assert.deepEqual(match("/"), { name: "home" });
  assert.deepEqual(match("/@Hanako"), { name: "profile", handle: "hanako", tab: "posts" });
  assert.deepEqual(match("/@a_1/followers"), { name: "profile", handle: "a_1", tab: "followers" });
  const id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
  assert.deepEqual(match(`/posts/${id}`), { name: "post", id });
  for (const path of ["/@ab", "/posts/1", "/x", "/@abc/x", "/toString", "/__proto__"]) {
    assert.deepEqual(match(path), { name: "nowhere" }, path);
  }
});

test("signing in never leads elsewhere", () => {
  assert.equal(after("/@abc?x=1"), "/@abc?x=1");
  const elsewhere = [
    null, "", "//evil.example", "/\\evil.example", "https://evil.example", "javascript:1", "/nope",
  ];
  for (const wanted of elsewhere) assert.equal(after(wanted), "/", String(wanted));
});

test("times are told in few words", () => {
  const now = Date.parse("2026-11-24T12:00:00Z");
  const at = (/** @type {number} */ ms) => new Date(now - ms).toISOString();
  const en = (/** @type {number} */ ms) => ago(at(ms), now, "en", "UTC");
  assert.equal(en(-5000), "now");
  assert.equal(en(59_999), "now");
  assert.equal(en(60_000), "1m ago");
  assert.equal(en(3_600_000 * 5), "5h ago");
  assert.equal(en(86_400_000 * 8), "Nov 16");
  assert.equal(en(86_400_000 * 400), "Oct 20, 2025");
  assert.match(ago(at(60_000), now, "ja", "UTC"), /^1\s?分前$/);
  assert.match(exactly(at(0), "ja", "Asia/Tokyo"), /2026年11月24日.*21:00/);
  assert.equal(month(at(0), "ja", "UTC"), "2026年11月");
});

test("counts are short", () => {
  assert.equal(short(999, "en"), "999");
  assert.equal(short(1_200_000, "en"), "1.2M");
  assert.equal(short(1_200_000, "ja"), "120万");
});

test("a cursor is kept only where everything before it is known", () => {
  /** @param {import("../cursor.js").Step[]} steps */
  const after = (...steps) => steps.reduce(follow, START);
  const first = after({ type: "read", cursor: "page" }, { type: "open" });
  assert.deepEqual([first.kept, first.resuming], ["page", true]);
  const during = follow(follow(first, { type: "hello", cursor: "h" }), { type: "entry", cursor: "1" });
  assert.equal(during.kept, "page", "while it resumes, entries may come out of order");
  const live = follow(follow(during, { type: "settled" }), { type: "entry", cursor: "2" });
  assert.equal(live.kept, "2");
  assert.equal(follow(follow(live, { type: "closed" }), { type: "open" }).resuming, true);
  const gap = follow(live, { type: "resync" });
  assert.equal(follow(gap, { type: "entry", cursor: "3" }).kept, null, "a gap is not passed over");
  assert.equal(follow(gap, { type: "read", cursor: "p" }).kept, "h", "live since the hello");
  const empty = after({ type: "open" }, { type: "hello", cursor: "h" }, { type: "settled" });
  assert.deepEqual([empty.kept, empty.resuming], [null, false]);
});

test("pauses grow, and differ by chance", () => {
  assert.deepEqual([0, 1, 2, 9].map((attempt) => pause(attempt, 0)), [500, 1000, 2000, 15_000]);
  assert.equal(pause(0, 1), 1000);
});

test("both languages say everything, with the same arguments", () => {
  assert.deepEqual(Object.keys(ja).sort(), Object.keys(en).sort());
  for (const [key, word] of Object.entries(en)) {
    const other = /** @type {Record<string, unknown>} */ (ja)[key];
    assert.equal(typeof other, typeof word, key);
    assert.ok(other, key);
  }
});

test("every code that the server has is translated", () => {
  const source = new URL("../../crates/kernel/src/problem.rs", import.meta.url);
  const codes = [...readFileSync(source, "utf8").matchAll(/^ +\w+ = \d{3} "(\w+)"/gm)];
  assert.ok(codes.length > 20);
  for (const [, code] of codes) assert.ok(`problem.${code}` in en, code);
});
