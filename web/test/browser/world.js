// What the browser tests share: the program on a port of its own, people, and their browsers.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";

const { MINI_SNS_PACKAGES = "", MINI_SNS_BIN = "", CHROMIUM = "/usr/bin/chromium" } = process.env;
const packages = createRequire(join(MINI_SNS_PACKAGES, "package.json"));
const { chromium } = packages("playwright-core");
const AXE = packages.resolve("axe-core/axe.min.js");

export const PASSWORD = "correct-horse-1";
/** What two people's browsers may take to tell each other something. */
export const SOON_MS = 5000;

const OPTIONS = [
  ["--auth-rate-per-sec", "1000"], ["--auth-rate-burst", "1000"],
  ["--address-rate-per-sec", "5000"], ["--address-rate-burst", "5000"],
  ["--user-rate-per-sec", "1000"], ["--user-rate-burst", "1000"],
  ["--posts-per-minute", "2000"], ["--admin-listen", "127.0.0.1:0"],
].flat();

/** The program over a data directory of its own, which a restart finds again. */
export class Server {
  data = mkdtempSync(join(tmpdir(), "mini-sns-web-"));
  port = "0";
  url = "";

  async start() {
    const args = ["serve", "--data", this.data, "--listen", `127.0.0.1:${this.port}`, ...OPTIONS];
    this.process = spawn(MINI_SNS_BIN, args, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    for await (const chunk of this.process.stdout) {
      said += chunk;
      const [, url] = /Mini-SNS is at (\S+)/.exec(said) ?? [];
      if (!url) continue;
      this.url = url;
      this.port = new URL(url).port;
      break;
    }
    if (!this.url) throw new Error(`the program did not start: ${said}`);
    return this;
  }

  /** @param {"SIGTERM" | "SIGKILL"} signal */
  async stop(signal = "SIGTERM") {
    const ended = once(this.process, "exit");
    this.process.kill(signal);
    await ended;
  }

  async end() {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }

  async call(method, path, { token, body } = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        "content-type": "application/json",
        ...(token ? { authorization: `Bearer ${token}` } : {}),
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  /** Somebody with an account, who calls the API. */
  async person(handle, displayName = handle) {
    const body = { email: `${handle}@example.org`, password: PASSWORD, handle, displayName };
    const session = await this.call("POST", "/auth/register", { body });
    const as = (method, path, body) => this.call(method, path, { token: session.accessToken, body });
    return {
      ...session,
      id: session.user.userId,
      as,
      post: (text) => as("POST", "/posts", { text }),
      follow: (other) => as("POST", `/users/${other.id}/follow`),
    };
  }
}

export const launch = () =>
  chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** A session as the client keeps it. */
function kept(server, { user, accessToken, refreshToken, expiresIn }) {
  const expiresAt = Date.now() + expiresIn * 1000;
  const value = JSON.stringify({ user, accessToken, refreshToken, expiresAt });
  return { origin: server.url, localStorage: [{ name: "mini-sns.session", value }] };
}

/**
 * A browser of its own, signed in where a person is given. Whatever goes wrong in a page, or leaves
 * the host, ends up in `complaints`.
 */
export async function visit(browser, server, person, options = {}) {
  const storageState = person ? { cookies: [], origins: [kept(server, person)] } : undefined;
  const context = await browser.newContext({ locale: "en-US", storageState, ...options });
  const complaints = [];
  context.on("page", (page) => {
    page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      const answered = /Failed to load resource|WebSocket connection/.test(text);
      if (message.type() === "error" && !answered) complaints.push(text);
    });
    page.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "blob:" && url.host !== new URL(server.url).host) complaints.push(`request: ${url}`);
    });
  });
  const page = await context.newPage();
  page.setDefaultTimeout(SOON_MS * 2);
  return { context, page, complaints, go: (path) => page.goto(server.url + path) };
}

/**
 * The server that the tests of one file share, and `visit` with a browser that they share.
 * @param {(server: Server) => Promise<void>} [prepare]  fills the server before the first test
 */
export function stage(prepare) {
  const server = new Server();
  let browser;
  before(async () => {
    await server.start();
    browser = await launch();
    await prepare?.(server);
  });
  after(async () => {
    await browser?.close();
    await server.end();
  });
  return { server, visit: (person, options) => visit(browser, server, person, options) };
}

/** What axe has to say about a page, in short. */
export async function axe(page) {
  // Not by a script element: the page's own policy forbids that, as it should.
  const { readFileSync } = await import("node:fs");
  await page.evaluate(readFileSync(AXE, "utf8"));
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }).then((result) =>
      result.violations.map((one) => `${one.id}: ${one.nodes.map((n) => `${n.target} ${n.failureSummary}`).join(" | ")}`),
    ),
  );
  return found;
}
