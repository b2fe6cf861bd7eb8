// A gap that the socket cannot tell: read from its newest end, or up from where one was reading.
import assert from "node:assert/strict";
import { test } from "node:test";
import { heard, post, stage, until } from "./world.js";

const KEPT = 40;
const { server, visit } = stage(undefined, ["--feed-entries-max", String(KEPT)]);
const WRITTEN = 70;

const texts = (page) => page.locator("main [data-post] .words").allTextContents();

test("after a gap the newest come by the pill, and those between by scrolling up", async () => {
  const [reader, writer] = [await server.person("reader_1"), await server.person("writer_1")];
  await reader.follow(writer);
  for (let at = 0; at < 10; at += 1) await writer.post(`old ${at}.`);
  const visits = [await visit(reader), await visit(reader)];
  const frames = visits.map(({ page }) => heard(page));
  for (const { page, go } of visits) {
    await go("/");
    await post(page, "old 9.").waitFor();
  }
  for (const types of frames) await until(() => types.includes("pong"));

  for (const { context } of visits) await context.setOffline(true);
  await server.stop("SIGKILL");
  await server.start();
  for (let at = 0; at < WRITTEN; at += 1) await writer.post(`new ${at}.`);
  for (const { context } of visits) await context.setOffline(false);
  for (const [index, { page }] of visits.entries()) {
    await page.getByRole("button", { name: "20+ new posts" }).waitFor();
    assert.ok(frames[index].includes("resync"), String(frames[index]));
    assert.equal((await texts(page))[0], "old 9.", "nothing has moved");
  }

  const [down, up] = visits.map(({ page }) => page);
  const written = Array.from({ length: WRITTEN }, (_, at) => `new ${at}.`).reverse();
  const all = [...written, ...Array.from({ length: 10 }, (_, at) => `old ${9 - at}.`)];

  // By the pill: the newest page, and everything below it.
  await down.getByRole("button", { name: "20+ new posts" }).click();
  await post(down, "new 69.").waitFor();
  while ((await texts(down)).length < all.length) {
    await down.mouse.wheel(0, 2000);
    await down.waitForTimeout(50);
  }
  assert.deepEqual(await texts(down), all);

  // By scrolling: what is read stays where it is.
  const top = () => post(up, "old 9.").boundingBox().then((box) => box?.y);
  const before = await top();
  await up.getByRole("button", { name: "Read what came in between" }).click();
  await post(up, "new 0.").waitFor();
  await up.waitForFunction(() => scrollY > 0);
  assert.ok(Math.abs((await top()) - before) < 2, `${before} -> ${await top()}`);
  await up.mouse.move(400, 400);
  while ((await texts(up)).length < all.length) {
    await up.mouse.wheel(0, -300);
    await up.waitForTimeout(50);
  }
  assert.deepEqual(await texts(up), all);
  await up.locator(".gap").waitFor({ state: "detached" });
  await up.locator(".pill").waitFor({ state: "detached" });

  await writer.post("live again");
  for (const page of [down, up]) {
    await page.getByRole("button", { name: "1 new post" }).click();
    assert.deepEqual(await texts(page), ["live again", ...all]);
  }
  for (const { complaints, context } of visits) {
    assert.deepEqual(complaints, []);
    await context.close();
  }
});
