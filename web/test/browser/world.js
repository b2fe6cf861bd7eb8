// What the browser tests share: the program on a port of its own, people, and their browsers.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";

const { MINI_SNS_PACKAGES = "", MINI_SNS_BIN = "", CHROMIUM = "/usr/bin/chromium" } = process.env;
const packages = createRequire(join(MINI_SNS_PACKAGES, "package.json"));
const { chromium } = packages("playwright-core");
const AXE = readFileSync(packages.resolve("axe-core/axe.min.js"), "utf8");

export const PASSWORD = "correct-horse-1";
/** How long a busy machine may keep a test waiting for what is to come. */
const PATIENCE_MS = 60_000;

const OPTIONS = [
  ["--auth-rate-per-sec", "1000"], ["--auth-rate-burst", "1000"],
  ["--address-rate-per-sec", "5000"], ["--address-rate-burst", "5000"],
  ["--user-rate-per-sec", "1000"], ["--user-rate-burst", "1000"],
  ["--posts-per-minute", "2000"], ["--log-filter", "warn"],
  ["--admin-listen", "127.0.0.1:0"],
].flat();

/** The program over a data directory of its own, which a restart finds again. */
export class Server {
  data = mkdtempSync(join(tmpdir(), "mini-sns-web-"));
  port = "0";
  url = "";
  admin = "";

  /** @param {string[]} options  of the program, beside those of every test */
  constructor(options = []) {
    this.options = options;
  }

  async start() {
    const args = ["serve", "--data", this.data, "--listen", `127.0.0.1:${this.port}`];
    args.push(...OPTIONS, ...this.options);
    this.process = spawn(MINI_SNS_BIN, args, { stdio: ["ignore", "pipe", "inherit"] });
    let said = "";
    for await (const chunk of this.process.stdout) {
      said += chunk;
      const [, url] = /Mini-SNS is at (\S+)/.exec(said) ?? [];
      const [, admin] = /for operators at (\S+)/.exec(said) ?? [];
      if (!url || !admin) continue;
      this.url = url;
      this.admin = admin;
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

/** A name that leads here as well. Over plain HTTP a browser trusts it less than 127.0.0.1. */
const PLAIN = "plain.example";

export const launch = () =>
  chromium.launch({
    executablePath: CHROMIUM,
    args: [
      "--no-sandbox", "--disable-dev-shm-usage", `--host-resolver-rules=MAP ${PLAIN} 127.0.0.1`,
    ],
  });

/** A session as the client keeps it. */
function kept(origin, { user, accessToken, refreshToken, expiresIn }) {
  const expiresAt = Date.now() + expiresIn * 1000;
  const value = JSON.stringify({ user, accessToken, refreshToken, expiresAt });
  return { origin, localStorage: [{ name: "mini-sns.session", value }] };
}

/**
 * A browser of its own, signed in where a person is given. Whatever goes wrong in a page, or leaves
 * the host, ends up in `complaints`.
 * @param {{plain?: boolean, console?: boolean}} options  and those of Playwright; `plain` without what
 *   HTTPS brings, `console` for the operator's
 */
export async function visit(browser, server, person, { plain = false, console = false, ...options } = {}) {
  const own = console ? server.admin : server.url;
  const base = plain ? `http://${PLAIN}:${server.port}` : own;
  const storageState = person ? { cookies: [], origins: [kept(base, person)] } : undefined;
  const context = await browser.newContext({ locale: "en-US", storageState, ...options });
  const complaints = [];
  context.on("page", (page) => {
    page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      const answered = /Failed to load resource|WebSocket connection|Cross-Origin-Opener-Policy/.test(text);
      if (message.type() === "error" && !answered) complaints.push(text);
    });
    page.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "blob:" && url.host !== new URL(base).host) complaints.push(`request: ${url}`);
    });
  });
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  return { context, page, complaints, base, go: (path) => page.goto(base + path) };
}

/**
 * The server that the tests of one file share, and `visit` with a browser that they share.
 * @param {(server: Server) => Promise<void>} [prepare]  fills the server before the first test
 * @param {string[]} [options]  of the program
 */
export function stage(prepare, options) {
  const server = new Server(options);
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

/** Waits for what no page tells. @param {() => boolean | Promise<boolean>} holds */
export async function until(holds) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`never: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** The types of the frames that come over the sockets of a page. */
export function heard(page) {
  const types = [];
  page.on("websocket", (socket) =>
    socket.on("framereceived", ({ payload }) => types.push(JSON.parse(String(payload)).type)),
  );
  return types;
}

/** The card of a post that has a text in it. */
export const post = (page, text) => page.locator("article.post", { hasText: text });

/** What axe has to say about a page, in short. */
export async function axe(page) {
  // Not by a script element: the page's own policy forbids that, as it should.
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const found = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }).then((result) =>
      result.violations.map((one) => `${one.id}: ${one.nodes.map((n) => `${n.target} ${n.failureSummary}`).join(" | ")}`),
    ),
  );
  return found;
}
