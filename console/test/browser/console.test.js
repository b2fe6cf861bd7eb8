// The console in a browser, against the program: numbers, a dead letter, the token, the keyboard.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { axe, launch, Server, until, visit } from "../../../web/test/browser/world.js";

/** Hardly a fan-out ends within a millisecond, so before long an event is given up. */
const IMPATIENT = ["--queue-visibility", "1ms", "--queue-receives-max", "1"];
const TOKEN = "an-operator's-token";

let browser;
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const open = (server, options) => visit(browser, server, undefined, { console: true, ...options });

/** The console of a server of one's own. */
async function stage(options, play) {
  const server = await new Server(options).start();
  try {
    await play(server);
  } finally {
    await server.end();
  }
}

test("requests, delays, sockets and queues are shown as they come", () =>
  stage([], async (server) => {
    const { page, complaints, go } = await open(server);
    await go("/");
    await page.getByRole("heading", { name: "Queues" }).waitFor();
    const author = await server.person("author");
    const writing = setInterval(() => void author.post("seen in the console").catch(() => {}), 20);
    const row = page.getByRole("row", { name: /^\/posts / });
    await row.waitFor();
    const figure = (name) => page.locator("figure", { hasText: name });
    await until(async () => /2xx [1-9]/.test(await figure("Requests").innerText()));
    await until(async () => /p50 [\d.]+ m?s/.test(await figure("From a post to its frames").innerText()));
    await until(async () => /p99 [\d.]+ m?s/.test(await figure("Time to answer").innerText()));
    assert.match(await row.innerText(), /\d\/s/);
    assert.equal(await page.locator("figure canvas").count(), 4);
    await page.getByRole("rowheader", { name: "timeline-fanout" }).waitFor();
    await page.getByText("ready · as of").waitFor();
    await page.getByText("None: every event was handled.").waitFor();
    assert.match(await page.locator("#facts").innerText(), /Open reports\s+0\s+Oldest report\s+none/);
    clearInterval(writing);
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      assert.deepEqual(await axe(page), [], colorScheme);
    }
    assert.deepEqual(complaints, []);
  }));

test("a dead letter is shown with its event, reason and trace, and redriven by the keyboard", () =>
  stage(IMPATIENT, async (server) => {
    const author = await server.person("author");
    const letters = async () =>
      (await (await fetch(`${server.admin}/dlq?queue=timeline-fanout`)).json()).items;
    await until(async () => {
      await author.post("late");
      return (await letters()).length > 0;
    });
    const { page, complaints, go } = await open(server);
    await go("/");
    const [letter] = await letters();
    const row = page.getByRole("row", { name: letter.id });
    await row.waitFor();
    assert.match(await row.innerText(), /mini-sns\.PostCreated/);
    assert.ok((await row.innerText()).includes(letter.reason));
    assert.ok((await row.innerText()).includes(letter.traceparent.split("-")[1]));
    const button = row.getByRole("button", { name: "Redrive" });
    await button.focus();
    await page.keyboard.press("Enter");
    await page.getByText(`${letter.id} is in its queue again.`).waitFor();
    assert.ok((await letters()).every(({ id }) => id !== letter.id));
    assert.deepEqual(await axe(page), []);
    assert.deepEqual(complaints, []);
  }));

test("behind a token the console asks for it, and nothing is told without it", () =>
  stage(["--admin-token", TOKEN], async (server) => {
    for (const path of ["/metrics", "/queues", "/dlq", "/errors"]) {
      assert.equal((await fetch(server.admin + path)).status, 401, path);
    }
    const { page, complaints, go } = await open(server);
    await go("/");
    const field = page.getByLabel("Admin token");
    await field.waitFor();
    assert.deepEqual(await axe(page), []);
    assert.equal(await page.getByRole("heading", { name: "Queues" }).isVisible(), false);
    await field.fill("not the token");
    await page.keyboard.press("Enter");
    await page.getByText("It is not the admin token.").waitFor();
    await field.fill(TOKEN);
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Queues" }).waitFor();
    // It is kept for this tab.
    await page.reload();
    await page.getByRole("heading", { name: "Queues" }).waitFor();
    assert.deepEqual(complaints, []);
  }));

test("it can be held still", () =>
  stage([], async (server) => {
    const { page, go } = await open(server);
    await go("/");
    await page.getByText("ready · as of").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    const said = await page.locator("#state").innerText();
    await page.waitForTimeout(5000);
    assert.equal(await page.locator("#state").innerText(), said);
    await page.getByRole("button", { name: "Go on" }).click();
    await until(async () => (await page.locator("#state").innerText()) !== said);
  }));
