// axe on every page in both themes and languages, the keyboard, and the narrowest telephone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { axe, stage } from "./world.js";

let person;
let postId;
const { visit } = stage(async (server) => {
  person = await server.person("hanako", "花子");
  const other = await server.person("long_handle_of_thirty_letters_", "n\u0301".repeat(25));
  const texts = ["x".repeat(200), "مرحبا بالعالم #وسم", "長い".repeat(250), "https://example.org/" + "a".repeat(300)];
  for (const text of texts) postId = (await other.post(text)).postId;
  await person.post("自分の投稿 #タグ");
  await person.follow(other);
  await person.as("POST", `/posts/${postId}/likes`);
});

const PLACES = () => [
  "/", "/explore", "/find", "/find?q=long", "/@hanako", "/@long_handle_of_thirty_letters_",
  "/@hanako/following", "/@hanako/followers", `/posts/${postId}`, "/settings", "/nowhere",
];

for (const colorScheme of ["light", "dark"]) {
  for (const locale of ["ja-JP", "en-US"]) {
    test(`axe finds nothing (${colorScheme}, ${locale})`, async () => {
      const options = { colorScheme, locale, reducedMotion: "reduce" };
      const stranger = await visit(null, options);
      for (const path of ["/", "/sign-in", "/nowhere"]) {
        await stranger.go(path);
        await stranger.page.locator("main h1").waitFor();
        assert.deepEqual(await axe(stranger.page), [], path);
      }
      await stranger.context.close();
      const member = await visit(person, options);
      for (const path of PLACES()) {
        await member.go(path);
        await member.page.locator("main h1").waitFor();
        await member.page.waitForLoadState("networkidle");
        assert.deepEqual(await axe(member.page), [], path);
      }
      await member.page.keyboard.press("?");
      await member.page.locator("dialog").waitFor();
      assert.deepEqual(await axe(member.page), [], "the list of keys");
      await member.context.close();
    });
  }
}

test("nothing is wider than a telephone of 320 pixels", async () => {
  const { context, page, go } = await visit(person, {
    viewport: { width: 320, height: 640 },
  });
  for (const path of PLACES()) {
    await go(path);
    await page.locator("main h1").waitFor();
    await page.waitForLoadState("networkidle");
    const [inner, outer] = await page.evaluate(() => [
      document.documentElement.scrollWidth, document.documentElement.clientWidth,
    ]);
    assert.ok(inner <= outer, `${path}: ${inner} > ${outer}`);
  }
  await context.close();
});

test("the keyboard reaches everything, and focus comes back", async () => {
  const { context, page, complaints, go } = await visit(person);
  await go("/");
  await page.locator("article.post").nth(2).waitFor();
  const current = () => page.evaluate(() => document.activeElement?.getAttribute("data-post"));
  await page.keyboard.press("j");
  const first = await current();
  await page.keyboard.press("j");
  const second = await current();
  assert.ok(first && second && first !== second);
  await page.keyboard.press("k");
  assert.equal(await current(), first);
  await page.keyboard.press("?");
  await page.locator("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.equal(await current(), first);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Post", exact: true }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1");
  await page.keyboard.press("g");
  await page.keyboard.press("h");
  await page.getByRole("heading", { name: "Home" }).waitFor();
  await page.keyboard.press("Tab");
  assert.notEqual(await page.evaluate(() => document.activeElement?.tagName), "BODY");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a first visit is small, asks nobody else, and shifts nothing", async () => {
  const { context, page, complaints, go } = await visit();
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  let bytes = 0;
  session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
  await page.addInitScript(() => {
    globalThis.shift = 0;
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) globalThis.shift += entry.value;
    }).observe({ type: "layout-shift", buffered: true });
  });
  await go("/");
  await page.waitForLoadState("networkidle");
  assert.ok(bytes > 10_000 && bytes < 60 * 1024, `${bytes} bytes`);
  assert.ok((await page.evaluate(() => globalThis.shift)) < 0.01);
  assert.deepEqual(complaints, []);
  await context.close();
});
