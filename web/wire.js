// One request to the server, and what went wrong with it. Knows nothing of who is signed in.

/** @import {ProblemBody} from "./types.d.ts" */

export const PATIENCE_MS = 15_000;

/** What went wrong, by the code that the server names it with; `offline` where it did not answer. */
export class Problem extends Error {
  /** @param {Partial<ProblemBody> & {code: string, status: number}} said */
  constructor({ code, status, detail = "", requestId = "", errors = [] }) {
    super(detail || code);
    this.code = code;
    this.status = status;
    this.requestId = requestId;
    this.errors = errors;
  }
}

/** @param {unknown} error */
export function asProblem(error) {
  if (error instanceof Problem) return error;
  console.error(error);
  return new Problem({ code: "internal", status: 0 });
}

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: unknown, headers?: Record<string, string>}} [more]
 * @returns {Promise<any>} the body of the answer
 */
export async function send(method, path, { body, headers } = {}) {
  /** @type {Response} */
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers: {
        accept: "application/json",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    text = await response.text();
  } catch {
    throw new Problem({ code: "offline", status: 0 });
  }
  const json = parse(text);
  if (response.ok) return json;
  // A proxy on the way may answer with something else than a problem.
  const code = json?.code ?? (response.status >= 500 ? "unavailable" : "internal");
  throw new Problem({ ...json, code, status: response.status });
}

/** @param {string} text */
function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
