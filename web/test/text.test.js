// What is recognised in text, and that nothing else is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { initial, length, safeLink, segments, weaknesses } from "../text.js";
import { VECTORS } from "./vectors.js";

/** @param {string} text */
const kinds = (text) => segments(text).map((segment) => `${segment.kind}:${segment.text}`);

test("links end where the sentence goes on", () => {
  assert.deepEqual(kinds("see https://a.example/x(y)?q=1#z. And"), [
    "text:see ", "link:https://a.example/x(y)?q=1#z", "text:. And",
  ]);
  assert.deepEqual(kinds("(https://a.example/)"), ["text:(", "link:https://a.example/", "text:)"]);
  assert.deepEqual(kinds("「https://a.example/」です"), [
    "text:「", "link:https://a.example/", "text:」です",
  ]);
  assert.deepEqual(kinds("https://例え.テスト/道"), ["link:https://例え.テスト/道"]);
});

test("handles and tags are words of their own", () => {
  assert.deepEqual(kinds("@Hanako と #日本語 ＃タグ #1 a@b.example x#y"), [
    "handle:@Hanako", "text: と ", "tag:#日本語", "text: ", "tag:＃タグ",
    "text: #1 a@b.example x#y",
  ]);
  assert.deepEqual(kinds("@ab @" + "a".repeat(31)), ["text:@ab @" + "a".repeat(31)]);
  const [handle] = segments("@Hanako");
  assert.equal(handle.kind === "handle" && handle.handle, "hanako");
});

test("nothing is lost, whatever is in it", () => {
  for (const text of [...VECTORS, "", "@", "#", "https://", "a\u202eb", "\u0301".repeat(50)]) {
    assert.equal(segments(text).map((segment) => segment.text).join(""), text);
  }
});

test("only web addresses become links", () => {
  for (const text of VECTORS) {
    for (const segment of segments(text)) {
      if (segment.kind === "link") assert.match(segment.href, /^https?:\/\/[^@]+$/, text);
    }
  }
  for (const text of ["javascript:alert(1)", "data:text/html,x", "//a.example", "https://u:p@a.b/"]) {
    assert.equal(safeLink(text), null, text);
  }
});

test("characters are counted as people count them", () => {
  assert.equal(length("  a\u0301👨‍👩‍👧‍👦が  "), 3);
  assert.equal(length("か\u3099"), 1);
  assert.equal(length(" \n\t "), 0);
});

test("an initial is one visible character", () => {
  assert.equal(initial("hanako"), "H");
  assert.equal(initial("\u200e 花子"), "花");
  assert.equal(initial(""), "");
  assert.ok(initial("a" + "\u0301".repeat(50)).length <= 2);
});

test("the rules of a password are the server's", () => {
  assert.deepEqual(weaknesses("correct-horse-1"), []);
  assert.deepEqual(weaknesses(""), ["length", "letter", "digit", "symbol"]);
  assert.deepEqual(weaknesses("パスワード１！"), ["length"]);
  assert.deepEqual(weaknesses("abcdefgh"), ["digit", "symbol"]);
  assert.deepEqual(weaknesses("a1!" + "x".repeat(254)), ["length"]);
});
