// Offline and back, a server that is killed and started again, and a long scroll.
import assert from "node:assert/strict";
import { test } from "node:test";
import { heard, post, stage, until } from "./world.js";

const { server, visit } = stage();

test("what is written offline is kept, and sent once there is a connection", async () => {
  const person = await server.person("offline_1");
  const { context, page, complaints, go } = await visit(person);
  await go("/");
  await page.getByText("Nobody's posts yet").waitFor();
  await context.setOffline(true);
  await page.getByText("You are offline").waitFor();
  await page.locator("#compose-page").fill("written offline");
  await page.keyboard.press("Control+Enter");
  await post(page, "written offline").getByText("Not posted").waitFor();
  await page.locator("#compose-page").fill("a draft");
  await context.setOffline(false);
  await page.locator("[data-post]", { hasText: "written offline" }).waitFor();
  await page.reload();
  await page.locator("[data-post]", { hasText: "written offline" }).waitFor();
  assert.equal(await page.locator("#compose-page").inputValue(), "a draft");
  assert.equal(await post(page, "written offline").count(), 1);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a server that is killed and comes back loses nothing on the screen", async () => {
  const [reader, writer] = [await server.person("reader_2"), await server.person("writer_2")];
  await reader.follow(writer);
  await writer.post("before the end");
  const { context, page, complaints, go } = await visit(reader);
  const frames = heard(page);
  await go("/");
  await post(page, "before the end").waitFor();
  await until(() => frames.includes("pong"));
  await server.stop("SIGKILL");
  await page.getByText("Connecting again").waitFor();
  await post(page, "before the end").getByRole("button", { name: "Like" }).click();
  await page.getByText("Your like was not saved.").waitFor();
  assert.equal(await page.locator(".liked").count(), 0);
  await server.start();
  await writer.post("while it was away");
  await page.getByRole("button", { name: "1 new post" }).click();
  await post(page, "while it was away").waitFor();
  await page.getByText("Connecting again").waitFor({ state: "detached" });
  await writer.post("live again");
  await page.getByRole("button", { name: "1 new post" }).click();
  const texts = await page.locator("article.post .words").allTextContents();
  assert.deepEqual(texts, ["live again", "while it was away", "before the end"]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("five hundred posts scroll by, each once, in steady memory", async () => {
  const [reader, writer] = [await server.person("reader_3"), await server.person("writer_3")];
  await reader.follow(writer);
  for (let at = 0; at < 500; at += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => writer.post(`number ${at + i}`)));
  }
  const { context, page, complaints, go } = await visit(reader);
  const session = await context.newCDPSession(page);
  const heap = async () => {
    await session.send("HeapProfiler.collectGarbage");
    return (await session.send("Runtime.getHeapUsage")).usedSize;
  };
  await go("/");
  await page.locator("[data-post]").nth(15).waitFor();
  const first = await heap();
  for (let turn = 0; turn < 400; turn += 1) {
    await page.mouse.wheel(0, 3000);
    if ((await page.locator("[data-post]").count()) >= 500) break;
    await page.waitForTimeout(30);
  }
  const ids = await page.locator("[data-post]").evaluateAll((all) => all.map((one) => one.dataset.post));
  assert.equal(ids.length, 500);
  assert.equal(new Set(ids).size, 500);
  const each = ((await heap()) - first) / 480;
  assert.ok(each < 20_000, `${each} bytes a post`);
  // Away and back again, five times: what is shown is kept, and nothing else.
  const shown = await heap();
  for (let turn = 0; turn < 5; turn += 1) {
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByRole("heading", { name: "Settings" }).waitFor();
    await page.goBack();
    await page.locator("[data-post]").nth(400).waitFor();
  }
  const grown = (await heap()) - shown;
  assert.ok(grown < 3_000_000, `${grown} bytes in five visits`);
  assert.deepEqual(complaints, []);
  await context.close();
});
