// axe on every page in both themes and languages, the keyboard, and the narrowest telephone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { axe, stage } from "./world.js";

let person;
let postId;
let blocked;
const { visit } = stage(async (server) => {
  person = await server.person("hanako", "花子");
  const other = await server.person("long_handle_of_thirty_letters_", "n\u0301".repeat(25));
  blocked = await server.person("blocked_1");
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

/** What axe says of a page in light and in dark. */
async function inBothThemes(page) {
  const found = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    found.push(...(await axe(page)).map((one) => `${colorScheme}: ${one}`));
  }
  return found;
}

for (const locale of ["ja-JP", "en-US"]) {
  test(`axe finds nothing on any page, light and dark (${locale})`, async () => {
    const stranger = await visit(null, { locale });
    for (const path of ["/", "/sign-in", "/forgot", "/nowhere"]) {
      await stranger.go(path);
      await stranger.page.locator("main h1").waitFor();
      assert.deepEqual(await inBothThemes(stranger.page), [], path);
    }
    await stranger.context.close();
    const member = await visit(person, { locale });
    for (const path of PLACES()) {
      await member.go(path);
      await member.page.locator("main h1").waitFor();
      await member.page.waitForLoadState("networkidle");
      assert.deepEqual(await inBothThemes(member.page), [], path);
    }
    for (const [state, reach] of STATES) {
      await member.page.unrouteAll();
      await member.go("/");
      await member.page.locator("[data-post]").first().waitFor();
      await reach(member);
      assert.deepEqual(await inBothThemes(member.page), [], state);
    }
    await member.context.close();
  });
}

async function more({ page }) {
  await page.locator("[data-post] [aria-haspopup=dialog]").first().click();
  await page.locator("dialog .more").waitFor();
}

/** What pages look like at times, and how that is reached from home. */
const STATES = [
  ["the list of keys", async ({ page }) => {
    await page.keyboard.press("?");
    await page.locator("dialog .keys").waitFor();
  }],
  ["the compose box above the page, with too much in it", async ({ page, go }) => {
    await go("/@hanako");
    await page.locator("[data-post]").waitFor();
    await page.keyboard.press("n");
    await page.locator("dialog textarea").fill("x".repeat(501));
    await page.locator("dialog .over").waitFor();
  }],
  ["a post that is about to be deleted", async ({ page, go }) => {
    await go("/@hanako");
    await page.locator(".action.danger").click();
    await page.locator(".asking").waitFor();
  }],
  ["what else can be done about a post", more],
  ["a block that is asked about", async (member) => {
    await more(member);
    await member.page.locator("dialog .more button").nth(1).click();
    await member.page.locator("dialog .danger").waitFor();
  }],
  ["a report", async (member) => {
    await more(member);
    await member.page.locator("dialog .more button").nth(2).click();
    await member.page.locator("dialog textarea").waitFor();
  }],
  ["people whom one blocks", async ({ page, go }) => {
    await person.as("POST", `/users/${blocked.id}/block`);
    await go("/settings");
    for (const summary of await page.locator("summary").all()) await summary.click();
    await page.locator(".hidden-people .person").waitFor();
  }],
  ["an account that is about to be deleted", async ({ page, go }) => {
    await go("/settings");
    await page.locator(".section > .button.danger").click();
    await page.locator("#password").waitFor();
  }],
  ["fields that are wrong", async ({ page, go }) => {
    await go("/settings");
    await page.locator("#handle").fill("x");
    await page.locator("#newPassword").fill("short");
    for (const form of await page.locator("form.form").all()) await form.locator("[type=submit]").click();
    await page.locator("#newPassword-error").waitFor();
  }],
  ["a like that was refused", async ({ page }) => {
    await page.route(/\/likes$/, (route) => route.abort());
    await page.locator("button.like").first().click();
    await page.locator(".notice").waitFor();
  }],
  ["a page that cannot be loaded", async ({ page, go }) => {
    await page.route(/\/posts$/, (route) => route.fulfill({ status: 503, body: "" }));
    await go("/explore");
    await page.locator(".failed").waitFor();
  }],
  ["offline, with a post that waits", async ({ page, context }) => {
    await context.setOffline(true);
    await page.locator(".connection p").waitFor();
    await page.locator("#compose-page").fill("later");
    await page.keyboard.press("Control+Enter");
    await page.locator(".outgoing [role=alert]").waitFor();
  }],
];

test("nothing is wider than a telephone of 320 pixels", async () => {
  const { context, page, go } = await visit(person, {
    viewport: { width: 320, height: 640 },
  });
  for (const path of PLACES()) {
    await go(path);
    await page.locator("main h1").waitFor();
    await page.waitForLoadState("networkidle");
    if (path === "/") {
      const rightToLeft = page.locator(".words", { hasText: "مرحبا" });
      assert.equal(await rightToLeft.evaluate((text) => text.matches(":dir(rtl)")), true);
    }
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

test("a first visit is small, asks nobody else, shifts nothing, and can be installed", async () => {
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
  const { errors, data } = await session.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  assert.equal(JSON.parse(data).start_url, "/");
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // The browsers of tests are private windows, where nothing is installed.
  const others = installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito");
  assert.deepEqual(others, []);
  assert.deepEqual(complaints, []);
  await context.close();
});
