// Two people in two browsers: from signing up to a deleted account.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PASSWORD, post, stage } from "./world.js";

const { server, visit } = stage();

async function signUp(page, name, handle) {
  await page.getByLabel("Name (optional)").fill(name);
  await page.getByLabel("Handle").fill(handle);
  await page.getByLabel("E-mail").fill(`${handle}@example.org`);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("heading", { name: "Home" }).waitFor();
}

test("two people find, follow, read, like and leave each other", async (t) => {
  const [anna, ben] = [await visit(), await visit()];
  await anna.go("/");
  await signUp(anna.page, "Anna", "anna_1");
  await ben.go("/settings");
  await ben.page.getByRole("heading", { name: "Sign in" }).waitFor();
  await ben.page.getByRole("link", { name: "Create an account" }).click();
  await ben.page.getByLabel("Name (optional)").waitFor();
  await ben.go("/");
  await signUp(ben.page, "Ben", "ben_1");

  // Anna writes; a double click posts once.
  const box = anna.page.locator("#compose-page");
  await box.fill("The first words, to @ben_1 and https://example.org/x.");
  await anna.page.locator("main > .compose").getByRole("button", { name: "Post" }).dblclick();
  await post(anna.page, "The first words").waitFor();
  await anna.page.waitForFunction(() => !document.querySelector(".outgoing"));
  assert.equal(await post(anna.page, "The first words").count(), 1);
  const link = anna.page.getByRole("link", { name: "https://example.org/x", exact: true });
  assert.equal(await link.getAttribute("href"), "https://example.org/x");
  assert.match((await link.getAttribute("rel")) ?? "", /noopener noreferrer/);
  assert.equal(await box.inputValue(), "");

  // Ben finds her and follows.
  await ben.page.keyboard.press("/");
  await ben.page.getByLabel("Handle or name").fill("ann");
  await ben.page.getByRole("button", { name: "Follow Anna", exact: true }).click();
  await ben.page.getByRole("button", { name: "Following: unfollow Anna" }).waitFor();
  await ben.page.locator("main").getByRole("link", { name: "Anna" }).first().click();
  await ben.page.getByRole("heading", { name: "Anna" }).waitFor();
  await ben.page.getByText("1 follower").waitFor();
  await ben.page.getByRole("link", { name: "Home" }).click();
  const arrived = ben.page.getByRole("button", { name: /new post/ });
  await arrived.or(post(ben.page, "The first words")).first().waitFor();
  if (await arrived.isVisible()) await arrived.click();
  await post(ben.page, "The first words").waitFor();

  // What arrives waits, and moves nothing.
  const top = () => post(ben.page, "The first words").boundingBox();
  const [where] = [await top()];
  await anna.page.keyboard.press("Escape");
  await anna.page.getByRole("heading", { name: "Home" }).focus();
  await anna.page.keyboard.press("n");
  await anna.page.keyboard.type("Second words");
  await anna.page.keyboard.press("Control+Enter");
  const began = performance.now();
  await arrived.waitFor();
  t.diagnostic(`seen by the other after ${Math.round(performance.now() - began)} ms`);
  assert.deepEqual(await top(), where);
  // Screen readers are told, and not interrupted.
  await ben.page.locator("[aria-live=polite]", { hasText: "1 new post" }).waitFor();
  await arrived.click();
  await post(ben.page, "Second words").waitFor();
  assert.equal(await ben.page.evaluate(() => document.activeElement?.matches("[data-post]")), true);

  // A like is shown at once, and to the author after a reload.
  const like = post(ben.page, "Second words").getByRole("button", { name: "Like" });
  await ben.page.keyboard.press("l");
  await ben.page.waitForFunction(() => document.querySelector(".liked"));
  assert.equal((await like.textContent())?.replace(/\D/g, ""), "1");
  await post(anna.page, "Second words").locator(".when").click();
  await anna.page.getByRole("heading", { name: "1 like" }).waitFor();
  await anna.page.locator(".likers").getByText("@ben_1").waitFor();

  // Deleting asks in place; the post leaves the other browser at once.
  await anna.page.getByRole("button", { name: "Delete" }).click();
  await anna.page.getByRole("button", { name: "Keep" }).click();
  await anna.page.getByRole("button", { name: "Delete" }).click();
  await anna.page.locator(".asking").getByRole("button", { name: "Delete" }).click();
  await anna.page.getByText("This post is gone.").waitFor();
  await post(ben.page, "Second words").waitFor({ state: "detached" });

  // Unfollowing does not ask, and takes the posts away.
  await ben.go("/@anna_1");
  await ben.page.getByRole("button", { name: "Following: unfollow Anna" }).click();
  await ben.page.getByRole("button", { name: "Follow Anna", exact: true }).waitFor();
  await ben.page.getByRole("link", { name: "Home" }).click();
  await ben.page.getByText("Nobody's posts yet").waitFor();

  // Anna deletes her account.
  await anna.go("/settings");
  await anna.page.getByRole("button", { name: "Delete my account" }).click();
  const asking = anna.page.locator("section", { hasText: "Enter your password" });
  await asking.getByLabel("Password", { exact: true }).fill("wrong-password-1");
  await anna.page.getByRole("button", { name: "Delete for good" }).click();
  await asking.getByText("The e-mail address or the password is wrong.").waitFor();
  await asking.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await anna.page.getByRole("button", { name: "Delete for good" }).click();
  await anna.page.getByText("Your account is deleted.").waitFor();
  await ben.go("/@anna_1");
  await ben.page.getByText("There is nobody with this handle.").waitFor();
  assert.deepEqual([anna.complaints, ben.complaints], [[], []]);
  await anna.context.close();
  await ben.context.close();
});

test("two telephones in Japanese go the same way", async () => {
  const size = { viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true };
  const phones = [];
  for (const handle of ["phone_1", "phone_2"]) {
    const { page, go, ...phone } = await visit(null, { ...size, locale: "ja-JP" });
    await go("/");
    await page.getByLabel("ユーザー名").fill(handle);
    await page.getByLabel("メールアドレス").fill(`${handle}@example.org`);
    await page.getByLabel("パスワード", { exact: true }).fill(PASSWORD);
    await page.getByRole("button", { name: "アカウントを作成" }).tap();
    await page.getByRole("heading", { name: "ホーム" }).waitFor();
    phones.push({ page, ...phone });
  }
  const [one, other] = phones.map(({ page }) => page);
  const write = async (page, text) => {
    await page.getByRole("button", { name: "投稿する" }).tap();
    await page.locator("dialog textarea").fill(text);
    await page.locator("dialog").getByRole("button", { name: "投稿", exact: true }).tap();
    await page.locator("[data-post]", { hasText: text }).waitFor();
  };
  await write(one, "電話から");
  await other.getByRole("link", { name: "みんなの投稿" }).tap();
  await post(other, "電話から").locator("a.name").tap();
  await other.getByRole("button", { name: "phone_1 をフォローする" }).tap();
  await other.getByText("1 フォロワー").waitFor();
  await other.getByRole("link", { name: "ホーム" }).tap();
  const arrived = other.getByRole("button", { name: "新しい投稿" });
  await arrived.or(post(other, "電話から")).first().waitFor();
  await write(one, "二つ目");
  await arrived.tap();
  await post(other, "二つ目").getByRole("button", { name: "いいね" }).tap();
  await other.locator(".liked").waitFor();
  await post(one, "二つ目").locator("a.when").tap();
  await one.getByRole("heading", { name: "いいね 1 件" }).waitFor();

  await one.getByRole("link", { name: "設定" }).tap();
  await one.getByRole("button", { name: "アカウントを削除" }).tap();
  const asking = one.locator("section", { hasText: "すべてを削除するには" });
  await asking.getByLabel("パスワード", { exact: true }).fill(PASSWORD);
  await one.getByRole("button", { name: "完全に削除する" }).tap();
  await one.getByText("アカウントを削除しました。").waitFor();
  for (const { complaints, context } of phones) {
    assert.deepEqual(complaints, []);
    await context.close();
  }
});

test("settings change the profile, the password and the sessions", async () => {
  const person = await server.person("cleo_1", "Cleo");
  await person.post("To be exported");
  const [loud, dull] = [await server.person("loud_1"), await server.person("dull_1")];
  await person.as("POST", `/users/${loud.id}/block`);
  await person.as("POST", `/users/${dull.id}/mute`);
  const { page, context, complaints, go } = await visit(person);
  const other = await context.newPage();
  // What was changed elsewhere is there.
  await person.as("PATCH", "/users/me", { bio: "From elsewhere" });
  await go("/settings");
  await page.waitForFunction(() => document.querySelector("#bio")?.value === "From elsewhere");
  await other.goto(`${server.url}/`);
  await page.getByLabel("Name (optional)").fill("Cléo 🌱");
  await page.getByLabel("About you").fill("Grows things. https://example.org");
  await page.getByLabel("Handle").fill("x");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("A handle has 3 to 30").waitFor();
  await page.getByLabel("Handle").fill("cleo_2");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved.").waitFor();
  await other.locator(".rail .self", { hasText: "@cleo_2" }).waitFor();

  const licences = page.getByRole("link", { name: "Licences of others' work" });
  const text = await (await fetch(server.url + (await licences.getAttribute("href")))).text();
  for (const name of ["preact", "htm", "lucide-static"]) assert.match(text, new RegExp(`^${name} `, "m"));

  const download = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export" }).click();
  const stream = await (await download).createReadStream();
  let json = "";
  for await (const chunk of stream) json += chunk;
  const data = JSON.parse(json);
  assert.equal(data.profile.handle, "cleo_2");
  assert.deepEqual(data.posts.map((one) => one.text), ["To be exported"]);
  const handles = (items) => items.map(({ user }) => user.handle);
  assert.deepEqual([handles(data.blocks), handles(data.mutes)], [["loud_1"], ["dull_1"]]);

  await page.getByLabel("Current password").fill(PASSWORD);
  await page.getByLabel("New password").fill("short");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("The password does not meet every rule below.").waitFor();
  await page.getByLabel("New password").fill("another-horse-2");
  await page.getByRole("button", { name: "Change password" }).click();
  await page.getByText("Password changed.").waitFor();

  await page.getByRole("radio", { name: "日本語" }).check();
  await page.getByRole("heading", { name: "設定" }).waitFor();
  await page.getByRole("button", { name: "すべての端末からログアウト" }).click();
  await page.getByRole("heading", { name: "ログイン" }).waitFor();
  // The other tab goes along.
  await other.getByRole("heading", { name: /短いことば|A quiet place/ }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a token that has expired is renewed once for all tabs", () => renewal("dora_1", false));
test("over plain HTTP it is renewed once as well", () => renewal("dora_2", true));

async function renewal(handle, plain) {
  const person = await server.person(handle);
  await person.post("still here");
  const { context, page, complaints, go, base } = await visit({ ...person, expiresIn: 1 }, { plain });
  let refreshes = 0;
  await context.route("**/auth/refresh", (route) => {
    refreshes += 1;
    return route.continue();
  });
  const others = await Promise.all([context.newPage(), context.newPage()]);
  await Promise.all([go("/"), ...others.map((tab) => tab.goto(`${base}/`))]);
  for (const tab of [page, ...others]) await post(tab, "still here").waitFor();
  assert.equal(refreshes, 1);
  assert.equal(await page.evaluate(() => isSecureContext), !plain);
  // What the browser does not offer here is not needed: writing, and the address to be copied.
  await page.locator("#compose-page").fill("written here");
  await page.keyboard.press("Control+Enter");
  const written = page.locator("[data-post]", { hasText: "written here" });
  if (plain) {
    await written.getByRole("button", { name: "Copy link" }).click();
    await page.locator(".notice", { hasText: `${base}/posts/` }).waitFor();
  }
  await post(others[0], "written here").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
}

test("what arrives or is written while new posts wait is shown with them", async () => {
  const reader = await server.person("finn_1");
  const [known, met, left] = [
    await server.person("gina_1"), await server.person("hugo_1"), await server.person("iris_1"),
  ];
  await reader.follow(known);
  await known.post("there before");
  await met.post("comes by a follow");
  await left.post("followed by mistake");
  const { context, page, complaints, go } = await visit(reader);
  const home = () => page.getByRole("link", { name: "Home" }).click();
  const arrived = (count) => page.getByRole("button", { name: new RegExp(`^${count} new post`) });
  const find = async (handle) => {
    await page.getByRole("link", { name: "Find" }).click();
    const box = page.getByLabel("Handle or name");
    assert.equal(await box.inputValue(), "");
    await box.fill(handle);
    await page.waitForURL(`**/find?q=${handle}`);
    await page.getByRole("button", { name: `Follow ${handle}`, exact: true }).first().click();
    await page.getByRole("button", { name: `Following: unfollow ${handle}` }).first().waitFor();
    // By the same link: the box is empty again.
    await page.getByRole("link", { name: "Find" }).click();
    await page.waitForFunction(() => document.querySelector("#find")?.value === "");
    await home();
  };
  await go("/");
  await post(page, "there before").waitFor();
  await find("hugo_1");
  await arrived(1).waitFor();
  await page.locator("#compose-page").fill("one's own");
  await page.keyboard.press("Control+Enter");
  await page.locator("[data-post]", { hasText: "one's own" }).waitFor();
  await known.post("comes live");
  await arrived(2).click();
  const texts = () => page.locator("main [data-post] .words").allTextContents();
  const all = ["comes live", "one's own", "comes by a follow", "there before"];
  assert.deepEqual(await texts(), all);

  await find("iris_1");
  await arrived(1).waitFor();
  await page.getByRole("link", { name: "Find" }).click();
  await page.getByLabel("Handle or name").fill("iris_1");
  await page.getByRole("button", { name: "Following: unfollow iris_1" }).first().click();
  await page.getByRole("button", { name: "Follow iris_1", exact: true }).first().waitFor();
  await home();
  await arrived(1).waitFor({ state: "detached" });
  await known.post("at last");
  await arrived(1).click();
  assert.deepEqual(await texts(), ["at last", ...all]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what one person asked is not answered to the next", async () => {
  const [one, next] = [await server.person("jana_1"), await server.person("karl_1")];
  const { postId } = await next.post("liked by one");
  await one.as("POST", `/posts/${postId}/likes`);
  const { context, page, complaints, go } = await visit(one);
  const other = await context.newPage();
  let release;
  const released = new Promise((resolve) => (release = resolve));
  let held = 0;
  await page.route(/\/likes\?/, async (route) => {
    if (route.request().headers().authorization === `Bearer ${one.accessToken}`) {
      held += 1;
      await released;
    }
    await route.continue();
  });
  await other.goto(`${server.url}/`);
  await Promise.all([page.waitForRequest(/\/likes\?/), go("/explore")]);
  const { user, accessToken, refreshToken } = next;
  const session = { user, accessToken, refreshToken, expiresAt: Date.now() + 600_000 };
  await other.evaluate((kept) => localStorage.setItem("mini-sns.session", kept), JSON.stringify(session));
  await page.locator(".rail .self", { hasText: "@karl_1" }).waitFor();
  const like = post(page, "liked by one").getByRole("button", { name: "Like" });
  await like.waitFor();
  assert.ok(held > 0);
  const answered = page.waitForResponse((response) => /\/likes\?/.test(response.url()));
  release();
  await answered;
  await page.waitForTimeout(300);
  assert.equal(await like.getAttribute("aria-pressed"), "false");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("back shows the same place", async () => {
  const person = await server.person("emil_1");
  for (let at = 0; at < 45; at += 1) await person.post(`post number ${at}`);
  const { context, page, complaints, go } = await visit(person);
  await go("/explore");
  await post(page, "post number 44").waitFor();
  while (!(await post(page, /number 8(?!\d)/).count())) {
    await page.mouse.wheel(0, 2000);
    await page.waitForTimeout(50);
  }
  await post(page, /number 10(?!\d)/).scrollIntoViewIfNeeded();
  const before = await page.evaluate(() => scrollY);
  await post(page, /number 10(?!\d)/).locator(".when").click();
  await page.getByRole("heading", { name: "Post", exact: true }).waitFor();
  assert.equal(await page.evaluate(() => scrollY), 0);
  await page.goBack();
  await page.getByRole("heading", { name: "Explore" }).waitFor();
  assert.equal(await page.evaluate(() => scrollY), before);
  await page.goForward();
  await page.getByRole("heading", { name: "Post", exact: true }).waitFor();
  await post(page, /number 10(?!\d)/).waitFor();
  await page.goBack();
  await page.getByRole("heading", { name: "Explore" }).waitFor();
  assert.equal(await page.evaluate(() => scrollY), before);
  assert.deepEqual(complaints, []);
  await context.close();
});
