// How the client behaves: it counts, ticks, undoes, insists, and goes on with what it has.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PASSWORD, post, stage, until } from "./world.js";

const { server, visit } = stage();
const TEXTS = "main [data-post] .words";

/** What the server says when it refuses. */
const refusal = (status, code) => ({
  status,
  contentType: "application/problem+json",
  json: { type: "about:blank", title: code, status, detail: "", code, requestId: "REQUEST-1" },
});

test("a form tells what is missing while one types, and what was refused at its field", async () => {
  await server.person("taken_1");
  const { context, page, complaints, go } = await visit();
  await go("/sign-up");
  const rules = (met) => page.locator(`.rules .${met}`).allTextContents();
  await page.getByLabel("Password", { exact: true }).fill("horse");
  assert.deepEqual((await rules("met")).map((text) => text.trim()), ["a letter: met"]);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  assert.equal((await rules("met")).length, 4);
  await page.getByLabel("Handle").fill("taken_1");
  await page.getByLabel("E-mail").fill("taken@example");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByText("Somebody has this handle already.").waitFor();
  await page.waitForFunction(() => document.activeElement?.id === "handle");
  assert.equal(await page.getByLabel("Handle").getAttribute("aria-invalid"), "true");
  await page.getByLabel("Handle").fill("free_1");
  await page.getByLabel("E-mail").fill("taken_1@example.org");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByText("There is an account with this e-mail address already.").waitFor();
  await page.waitForFunction(() => document.activeElement?.id === "email");
  await page.getByLabel("E-mail").fill("free_1@example.org");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("heading", { name: "Home" }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("characters are counted as people count them, up to five hundred", async () => {
  const { context, page, complaints, go } = await visit(await server.person("counter_1"));
  await go("/");
  const form = page.locator("main > .compose");
  const box = page.locator("#compose-page");
  const button = form.getByRole("button", { name: "Post" });
  const family = "👨‍👩‍👧‍👦";
  assert.ok(await button.isDisabled());
  await box.fill(family.repeat(499));
  await form.getByText("1 character left").waitFor();
  await box.fill(family.repeat(502));
  await form.getByText("2 characters too many").waitFor();
  assert.ok(await button.isDisabled());
  await box.fill(family.repeat(500));
  await button.click();
  await page.locator("[data-post]").waitFor();
  assert.equal(await page.locator(TEXTS).textContent(), family.repeat(500));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the language is the browser's until one chooses", async () => {
  for (const [locale, lang, title] of [
    ["ja-JP", "ja", "短いことばを、静かに。"], ["fr-FR", "en", "A quiet place for short words"],
  ]) {
    const { context, page, complaints, go } = await visit(null, { locale });
    await go("/");
    assert.equal(await page.locator("html").getAttribute("lang"), lang);
    assert.equal(await page.locator("main h1").textContent(), title);
    await page.getByRole("button", { name: lang === "ja" ? "English" : "日本語" }).click();
    const chosen = lang === "ja" ? "en" : "ja";
    await page.locator(`html[lang=${chosen}]`).waitFor();
    await page.reload();
    await page.locator(`html[lang=${chosen}]`).waitFor();
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

test("likes and follows are shown at once, and undone where the server refuses", async () => {
  const [reader, writer] = [await server.person("reader_1"), await server.person("writer_1")];
  await writer.post("to be liked");
  const { context, page, complaints, go } = await visit(reader);
  let refused = 0;
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route(/\/(likes|follow)$/, async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    refused += 1;
    await released;
    return route.fulfill(refusal(503, "unavailable"));
  });
  await go("/@writer_1");
  await page.getByText("0 followers").waitFor();
  const like = post(page, "to be liked").getByRole("button", { name: "Like" });
  await like.click();
  await page.locator(".about").getByRole("button", { name: "Follow writer_1" }).click();
  // At once, while the server has not answered.
  assert.equal(await like.getAttribute("aria-pressed"), "true");
  assert.match((await like.textContent()) ?? "", /1/);
  await page.getByText("1 follower").waitFor();
  release();
  await page.getByText("0 followers").waitFor();
  await page.locator(".about").getByRole("button", { name: "Follow writer_1" }).waitFor();
  await page.waitForFunction(() => !document.querySelector(".liked"));
  const notice = page.locator(".notice");
  await notice.getByText("The server is not available right now.").waitFor();
  await notice.getByText("Details").click();
  await notice.getByText("REQUEST-1").waitFor();
  assert.equal(refused, 2);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a post whose answer was lost is sent again by its key, and is there once", async () => {
  const writer = await server.person("writer_2");
  const { context, page, complaints, go } = await visit(writer);
  const keys = [];
  let answer = "lose";
  await context.route(/\/posts$/, async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    keys.push(route.request().headers()["idempotency-key"]);
    if (answer === "all") return route.continue();
    // The server has it, and nobody hears of that.
    await route.fetch();
    if (answer === "lose") return route.abort();
    return undefined;
  });
  await go("/");
  await page.getByText("Nobody's posts yet").waitFor();
  const write = async (text) => {
    await page.locator("#compose-page").fill(text);
    await page.keyboard.press("Control+Enter");
  };
  await write("insists");
  await until(() => keys.length > 0);
  answer = "all";
  await page.locator("[data-post]", { hasText: "insists" }).waitFor();
  await page.locator(".outgoing").waitFor({ state: "detached" });
  assert.ok(keys.length > 1 && new Set(keys).size === 1, String(keys));

  // The page is left while the server works.
  answer = "never";
  await write("outlives a reload");
  await until(() => new Set(keys).size === 2);
  answer = "all";
  await page.reload();
  await page.locator(".outgoing").waitFor({ state: "detached" });
  await page.locator("[data-post]", { hasText: "outlives a reload" }).waitFor();
  assert.equal(new Set(keys).size, 2, String(keys));
  const { items } = await writer.as("GET", `/posts?authorId=${writer.id}`);
  assert.deepEqual(items.map(({ text }) => text), ["outlives a reload", "insists"]);
  assert.deepEqual(await page.locator(TEXTS).allTextContents(), ["outlives a reload", "insists"]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("tabs keep each other's unsent posts", async () => {
  const { context, page, complaints, go, base } = await visit(await server.person("writer_3"));
  const other = await context.newPage();
  await go("/");
  await other.goto(`${base}/`);
  const tabs = [page, other];
  for (const tab of tabs) await tab.getByText("Nobody's posts yet").waitFor();
  await context.setOffline(true);
  for (const [index, tab] of tabs.entries()) {
    await tab.locator("#compose-page").fill(`from tab ${index}`);
    await tab.locator("#compose-page").press("Control+Enter");
    await post(tab, `from tab ${index}`).getByText("Not posted").waitFor();
  }
  await context.setOffline(false);
  for (const tab of tabs) {
    for (const index of [0, 1]) {
      await tab.locator("[data-post]", { hasText: `from tab ${index}` }).waitFor();
    }
    await tab.locator(".outgoing").waitFor({ state: "detached" });
  }
  await page.reload();
  await page.locator("[data-post]", { hasText: "from tab 1" }).waitFor();
  assert.equal(await page.locator(TEXTS).count(), 2);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what a part of the server does not tell is left out, and asked for again", async () => {
  const [reader, writer] = [await server.person("reader_4"), await server.person("writer_4", "Wim")];
  await reader.follow(writer);
  await writer.post("read from a page");
  const { context, page, complaints, go } = await visit(reader);
  let away = true;
  const without = (item) => Object.assign(item, { author: null, likeCount: null, liked: null });
  await page.route(/\/timeline/, async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    if (away) json.items.forEach(without);
    await route.fulfill({ response, json });
  });
  await page.route(/\/(users|likes)\?/, (route) =>
    away ? route.fulfill(refusal(503, "unavailable")) : route.continue(),
  );
  await page.routeWebSocket(/\/ws/, (socket) => {
    const far = socket.connectToServer();
    far.onMessage((text) => {
      const frame = JSON.parse(String(text));
      if (away && frame.data?.post) without(frame.data);
      socket.send(JSON.stringify(frame));
    });
  });
  await page.clock.install();
  await go("/");
  const [read, told] = [post(page, "read from a page"), post(page, "told by the socket")];
  await read.getByText("Name not available").waitFor();
  assert.equal(await read.getByRole("button", { name: "Like" }).count(), 0);
  await read.getByText("Likes cannot be shown right now").waitFor();
  await writer.post("told by the socket");
  await page.getByRole("button", { name: "1 new post" }).click();
  await told.getByText("Name not available").waitFor();

  away = false;
  await page.clock.fastForward(40_000);
  for (const card of [read, told]) {
    await card.getByText("@writer_4").waitFor();
    await card.getByRole("button", { name: "Like" }).click();
    await card.locator(".liked").waitFor();
  }
  assert.deepEqual(complaints, []);
  await context.close();
});

test("times tick", async () => {
  const writer = await server.person("writer_5");
  await writer.post("a moment ago");
  const { context, page, complaints, go } = await visit(writer);
  await page.clock.install();
  await go("/");
  const time = post(page, "a moment ago").locator("time > [aria-hidden]");
  await time.getByText("now").waitFor();
  await page.clock.fastForward(150_000);
  await time.getByText("2m ago").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("nothing moves for whoever does not want it", async () => {
  const [reader, writer] = [await server.person("reader_8"), await server.person("writer_8")];
  await reader.follow(writer);
  await writer.post("is there");
  for (const reducedMotion of ["no-preference", "reduce"]) {
    const { context, page, complaints, go } = await visit(reader, { reducedMotion });
    await go("/");
    // To an empty page, what comes before the socket is up would be added without a pill.
    await post(page, "is there").waitFor();
    await writer.post(`arrives, ${reducedMotion}`);
    const pill = page.locator(".pill");
    const animation = await pill.evaluate((element) => getComputedStyle(element).animationName);
    assert.equal(animation, reducedMotion === "reduce" ? "none" : "drop");
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

test("an answer begins with the name of whom it is for", async () => {
  const [reader, writer] = [await server.person("reader_6"), await server.person("writer_6")];
  await reader.follow(writer);
  await writer.follow(reader);
  await writer.post("who answers?");
  const [one, other] = [await visit(reader), await visit(writer)];
  await one.go("/");
  await other.go("/");
  await post(other.page, "who answers?").waitFor();
  await post(one.page, "who answers?").getByRole("button", { name: "Answer" }).click();
  await one.page.locator("dialog textarea:focus").waitFor();
  await one.page.keyboard.type("I do");
  await one.page.keyboard.press("Control+Enter");
  await one.page.locator("[data-post]", { hasText: "@writer_6 I do" }).waitFor();
  await one.page.locator("dialog").waitFor({ state: "detached" });
  await other.page.getByRole("button", { name: "1 new post" }).click();
  await post(other.page, "@writer_6 I do").getByRole("link", { name: "@writer_6" }).click();
  await other.page.getByRole("link", { name: "Edit profile" }).waitFor();
  assert.deepEqual([one.complaints, other.complaints], [[], []]);
  await one.context.close();
  await other.context.close();
});

test("the first paint waits for no call", async () => {
  const { context, page, complaints, go } = await visit(await server.person("reader_7"));
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route(/\/(timeline|posts|users)(\?|\/|$)/, async (route) => {
    await released;
    await route.continue();
  });
  await go("/");
  await page.getByRole("heading", { name: "Home" }).waitFor();
  await page.locator("#compose-page").fill("can be written already");
  const paints = () =>
    page.evaluate(() => performance.getEntriesByName("first-contentful-paint").length);
  await until(async () => (await paints()) > 0);
  await page.getByText("Loading").waitFor();
  release();
  await page.getByText("Nobody's posts yet").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a browser that keeps nothing goes on without", async () => {
  const { context, page, complaints, go } = await visit();
  await page.addInitScript(() => {
    for (const name of ["localStorage", "sessionStorage", "indexedDB"]) {
      const refuse = () => { throw new DOMException("refused", "SecurityError"); };
      Object.defineProperty(globalThis, name, { get: refuse });
    }
  });
  await go("/sign-up");
  await page.getByLabel("Handle").fill("forgetful_1");
  await page.getByLabel("E-mail").fill("forgetful_1@example.org");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.locator("#compose-page").fill("kept by the server alone");
  await page.keyboard.press("Control+Enter");
  await page.locator("[data-post]", { hasText: "kept by the server alone" }).waitFor();
  await page.getByRole("link", { name: "Settings" }).click();
  await page.getByRole("radio", { name: "Dark" }).check();
  await page.getByRole("button", { name: "Sign out", exact: true }).click();
  await page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});
