// What comes by e-mail: the code that confirms an address, and the one for another password.
import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, before, test } from "node:test";
import { axe, launch, Server, until, visit } from "./world.js";

/** The letters that came, each as its text. */
const letters = [];

/** Takes every letter, as much of SMTP as one sender needs. */
const office = createServer((socket) => {
  let said = "";
  let writing = false;
  socket.write("220 office ESMTP\r\n");
  socket.on("error", () => {});
  socket.on("data", (chunk) => {
    said += chunk;
    if (writing) {
      if (!said.endsWith("\r\n.\r\n")) return;
      const body = said.slice(said.indexOf("\r\n\r\n") + 4, -5);
      letters.push(Buffer.from(body, "base64").toString());
      writing = false;
      said = "";
      socket.write("250 taken\r\n");
      return;
    }
    if (!said.endsWith("\r\n")) return;
    const verb = said.slice(0, 4).toUpperCase();
    said = "";
    writing = verb === "DATA";
    socket.write(verb === "EHLO" ? "250 office\r\n" : writing ? "354 go on\r\n" : "250 yes\r\n");
  });
});

/** The code in a letter. @param {number} number  counted from one */
async function code(number) {
  await until(() => letters.length >= number);
  return /^ {4}(\S+)/m.exec(letters[number - 1])[1];
}

let server;
let browser;
before(async () => {
  await new Promise((done) => office.listen(0, "127.0.0.1", () => done(undefined)));
  const url = `smtp://127.0.0.1:${office.address().port}`;
  const options = ["--smtp-url", url, "--mail-from", "sns@example.org", "--email-confirmation", "limit"];
  server = await new Server(options).start();
  browser = await launch();
});
after(async () => {
  await browser.close();
  await server.end();
  office.close();
});

test("an address is confirmed in the settings by the code of the letter", async () => {
  const person = await server.person("hanako");
  const { page, complaints, context, go } = await visit(browser, server, person);
  await go("/settings");
  const field = page.getByLabel("Code");
  await field.fill("wrong");
  await page.getByRole("button", { name: "Confirm", exact: true }).click();
  await page.getByText("The code is wrong, or too old.").waitFor();
  await field.fill(await code(1));
  await page.getByRole("button", { name: "Confirm", exact: true }).click();
  await page.getByText("Your e-mail address is confirmed.").waitFor();
  await field.waitFor({ state: "detached" });
  assert.deepEqual(await axe(page), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("who lost the password chooses another one and is signed in", async () => {
  const { page, complaints, context, go } = await visit(browser, server, null);
  await go("/sign-in");
  await page.getByRole("link", { name: "Forgot your password?" }).click();
  await page.getByLabel("E-mail").fill("hanako@example.org");
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Send a code" }).click();
  await page.getByLabel("Code").fill((await code(2)).toLowerCase());
  await page.getByLabel("New password").fill("another-horse-2");
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Choose this password" }).click();
  await page.getByRole("link", { name: "Home" }).first().waitFor();
  const body = { email: "hanako@example.org", password: "another-horse-2" };
  await server.call("POST", "/auth/login", { body });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a link of an operator leads to another password, and leaves no code in the address", async () => {
  const person = await server.person("jiro");
  const asked = await fetch(`${server.admin}/users/${person.id}/reset-password`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ operator: "olga", reason: "lost", dryRun: false }),
  });
  const { account, code } = await asked.json();
  const { page, complaints, context, go } = await visit(browser, server, null);
  await go(`/forgot#${new URLSearchParams({ email: account.email, code })}`);
  await page.getByText("Choose another password for jiro@example.org.").waitFor();
  assert.equal(await page.getByLabel("Code").inputValue(), code);
  await until(() => !page.url().includes("#"));
  await page.getByLabel("New password").fill("another-horse-2");
  assert.deepEqual(await axe(page), []);
  await page.getByRole("button", { name: "Choose this password" }).click();
  await page.getByRole("link", { name: "Home" }).first().waitFor();
  const body = { email: "jiro@example.org", password: "another-horse-2" };
  await server.call("POST", "/auth/login", { body });
  assert.deepEqual(complaints, []);
  await context.close();
});
