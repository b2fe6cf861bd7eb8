// What people type stays text: the corpus in posts, names, bios and addresses runs nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { VECTORS } from "../vectors.js";
import { stage } from "./world.js";

const { server, visit } = stage();

test("there are sixty vectors and more", () => assert.ok(VECTORS.length >= 60));

test("nothing that a person typed runs", async () => {
  const reader = await server.person("reader_1");
  for (const [index, vector] of VECTORS.entries()) {
    const writer = await server.person(`writer_${index}`);
    const name = [...vector].slice(0, 50).join("").replace(/[\t\n\u2028]/g, " ");
    await writer.as("PATCH", "/users/me", { displayName: name, bio: vector.replace(/\t/g, " ") });
    await reader.follow(writer);
    await writer.post(vector);
  }
  const { context, page, complaints, go } = await visit(reader);
  const places = ["/", "/explore", "/@writer_1", "/@reader_1/following"];
  for (const path of places) {
    await go(path);
    await page.locator("main article, main .person").first().waitFor();
    // To the end, so that everything has been shown; a list of one has no word for it.
    const ended = page.locator(".end p");
    while (path !== "/@writer_1" && (await ended.count()) === 0) {
      await page.mouse.wheel(0, 5000);
      await page.waitForTimeout(50);
    }
    const found = await page.evaluate(() => ({
      ran: "pwned" in globalThis,
      strange: [...document.querySelectorAll("main *")]
        .filter((element) => /^(script|iframe|object|embed|img|video|audio|base|style|link|meta|xss|math)$/i.test(element.tagName))
        .map((element) => element.outerHTML),
      handlers: [...document.querySelectorAll("main *")].flatMap((element) =>
        element.getAttributeNames().filter((name) => name.startsWith("on") || name === "style" && element.tagName !== "TEXTAREA"),
      ),
      links: [...document.querySelectorAll("main a")].map((link) => link.href).filter((href) => !/^https?:/.test(href)),
      texts: document.querySelectorAll("main .words").length,
    }));
    assert.deepEqual({ ...found, texts: 0 }, { ran: false, strange: [], handlers: [], links: [], texts: 0 }, path);
    if (path === "/") assert.equal(found.texts, VECTORS.length);
  }
  // What is shown is what was typed.
  await go("/");
  await page.locator("main .words").first().waitFor();
  const shown = await page.locator("main .words").allTextContents();
  const typed = new Set(VECTORS.map((vector) => vector.normalize("NFC").trim()));
  for (const text of shown) assert.ok(typed.has(text), text);
  // Addresses are typed by others as well.
  for (const vector of VECTORS.slice(0, 20)) {
    for (const path of [`/@${encodeURIComponent(vector)}`, `/find?q=${encodeURIComponent(vector)}`, `/sign-in?to=${encodeURIComponent(vector)}`]) {
      await go(path);
      await page.locator("main h1").waitFor();
      assert.equal(await page.evaluate(() => "pwned" in globalThis), false, path);
    }
  }
  assert.deepEqual(complaints, []);
  await context.close();
});
