// What one can do about people and posts: block, mute, report, and take back what can be.
import assert from "node:assert/strict";
import { test } from "node:test";
import { post, stage } from "./world.js";

const { server, visit } = stage();

const more = (place) => place.getByRole("button", { name: "More" });
const button = (page, name) => page.getByRole("dialog").getByRole("button", { name, exact: true });
const focused = (page) => page.evaluate(() => document.activeElement?.textContent?.trim());

/** Opens a list of the settings, and waits for somebody on it. */
async function listed(page, go, title, handle) {
  await go("/settings");
  await page.locator("summary", { hasText: title }).click();
  const row = page.locator(".hidden-people .person", { hasText: `@${handle}` });
  await row.waitFor();
  return row;
}

test("a block is asked about, takes posts off the screen, and is taken back in the settings", async () => {
  const [reader, writer, other] = await Promise.all(
    ["reader_b", "writer_b", "other_b"].map((handle) => server.person(handle)),
  );
  await reader.follow(writer);
  await reader.follow(other);
  await writer.post("written by whom one blocks");
  await other.post("written by somebody else");
  const { context, page, complaints, go } = await visit(reader);
  await go("/");
  const card = post(page, "by whom one blocks");
  // By the keyboard all the way.
  await more(card).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "About writer_b" }).waitFor();
  assert.equal(await focused(page), "Mute");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Block writer_b?" }).waitFor();
  assert.equal(await focused(page), "Cancel");
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.equal(await focused(page), "More");
  assert.ok(await card.isVisible());
  await page.keyboard.press("Enter");
  await button(page, "Block").click();
  await button(page, "Block").click();
  await card.waitFor({ state: "detached" });
  await page.locator(".notice", { hasText: "writer_b is blocked" }).waitFor();
  assert.ok(await post(page, "by somebody else").isVisible());
  const { following } = await reader.as("GET", `/users/${writer.id}/follow`);
  assert.equal(following, false);

  await go("/@writer_b");
  await page.locator(".badge", { hasText: "Blocked" }).waitFor();
  await page.getByText("You block this person").waitFor();
  const row = await listed(page, go, "Blocked", "writer_b");
  await row.getByRole("button", { name: "Unblock writer_b" }).click();
  // It can be undone while it is on the screen.
  await row.getByRole("button", { name: "Block writer_b" }).click();
  await row.getByRole("button", { name: "Unblock writer_b" }).click();
  await row.getByRole("button", { name: "Block writer_b" }).waitFor();
  await go("/@writer_b");
  await card.waitFor();
  assert.equal(await page.locator(".badge").count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("on a profile a block shows and takes back at once", async () => {
  const [reader, writer] = [await server.person("reader_p"), await server.person("writer_p")];
  await writer.post("on the profile");
  const { context, page, complaints, go } = await visit(reader);
  await go("/@writer_p");
  const card = post(page, "on the profile");
  await card.waitFor();
  await more(page.locator(".about")).click();
  await button(page, "Block").click();
  await button(page, "Block").click();
  await card.waitFor({ state: "detached" });
  await page.locator(".about").getByRole("button", { name: "Unblock writer_p" }).click();
  await card.waitFor();
  await page.locator(".about").getByRole("button", { name: "Follow writer_p" }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a mute empties one's timeline of somebody and nothing else", async () => {
  const [reader, writer] = [await server.person("reader_m"), await server.person("writer_m")];
  await reader.follow(writer);
  await writer.post("written by whom one mutes");
  const { context, page, complaints, go } = await visit(reader);
  await go("/");
  const card = post(page, "by whom one mutes");
  await more(card).click();
  await button(page, "Mute").click();
  await card.waitFor({ state: "detached" });
  await go("/@writer_m");
  await card.waitFor();
  await page.locator(".badge", { hasText: "Muted" }).waitFor();
  const row = await listed(page, go, "Muted", "writer_m");
  await row.getByRole("button", { name: "Unmute writer_m" }).click();
  await row.getByRole("button", { name: "Mute writer_m" }).waitFor();
  await go("/");
  await card.waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("posts and people are reported, with a reason", async () => {
  const [reader, writer] = [await server.person("reader_r"), await server.person("writer_r")];
  const { postId } = await writer.post("buy this");
  const { context, page, complaints, go } = await visit(reader);
  await go(`/posts/${postId}`);
  await more(post(page, "buy this")).click();
  await button(page, "Report this post").click();
  const dialog = page.getByRole("dialog", { name: "Report this post" });
  await dialog.waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("value")), "spam");
  assert.ok(await button(page, "Report").isDisabled());
  await page.keyboard.press("Space");
  await dialog.getByLabel("More about it").fill("x".repeat(1001));
  await button(page, "Report").click();
  await dialog.getByText("At most 1000 characters.").waitFor();
  await dialog.getByLabel("More about it").fill("again and again");
  await button(page, "Report").click();
  await page.locator(".notice", { hasText: "Reported." }).waitFor();
  await dialog.waitFor({ state: "detached" });

  await go("/@writer_r");
  await more(page.locator(".about")).click();
  await button(page, "Report this person").click();
  await page.getByLabel("Against the law").check();
  await button(page, "Report").click();
  await page.getByRole("dialog").waitFor({ state: "detached" });
  const { items } = await (await fetch(`${server.admin}/reports?state=open`)).json();
  const told = items.map(({ reason, text, subject, reporterId }) => [
    reason, text, subject.postId ?? subject.userId, reporterId,
  ]);
  assert.deepEqual(told, [
    ["spam", "again and again", postId, reader.id], ["illegal", null, writer.id, reader.id],
  ]);
  assert.deepEqual(complaints, []);
  await context.close();
});
