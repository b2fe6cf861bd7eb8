// For whoever is not signed in: create an account, or sign in.
import { useEffect, useState } from "preact/hooks";
import { account } from "../api.js";
import { choose, t } from "../i18n/index.js";
import { language, place } from "../state.js";
import { afterSignIn, go } from "../router.js";
import { NAME_MAX, length, weaknesses } from "../text.js";
import { Field, PasswordField } from "../parts/field.js";
import { FormProblem, useForm } from "../parts/form.js";
import { html } from "../parts/html.js";
import { Mark } from "../parts/icon.js";

const isEmail = (/** @type {string} */ text) => /^[^\s@]+@[^\s@]+$/.test(text.trim());
export const isHandle = (/** @type {string} */ text) => /^[A-Za-z0-9_]{3,30}$/.test(text);

/** @param {{title: string, welcome?: boolean, note?: string, children?: any}} props */
function Door({ title, welcome, note, children }) {
  useEffect(() => {
    document.title = `${title} · Mini-SNS`;
  }, [title]);
  return html`
    <div class="door">
      <div class="door-words">
        <p class="brand"><${Mark} /><span>Mini-SNS</span></p>
        ${welcome && html`<h1 tabindex="-1">${t("welcome.title")}</h1><p>${t("welcome.text")}</p>`}
        ${!welcome && html`<h1 tabindex="-1">${title}</h1>`}
        ${note && html`<p>${note}</p>`}
      </div>
      ${children}
      <${Language} />
    </div>
  `;
}

export function Language() {
  const button = (/** @type {"ja" | "en"} */ name, /** @type {string} */ label) => html`
    <button type="button" class="action" lang=${name} aria-pressed=${language.value === name}
      onClick=${() => choose(name)}>${label}</button>
  `;
  return html`<div class="languages" role="group" aria-label=${t("settings.language")}>
    ${button("ja", "日本語")}${button("en", "English")}
  </div>`;
}

/** The other door, which leads to the same place. @param {string} path */
const other = (path) => `${path}${place.value.search}`;

export function SignUp() {
  const { field, values, submit, busy, problem } = useForm(
    { displayName: "", handle: "", email: "", password: "" },
    {
      check: ({ handle, email, password, displayName }) => ({
        ...(isHandle(handle) ? {} : { handle: t("error.handle") }),
        ...(isEmail(email) ? {} : { email: t("error.email") }),
        ...(weaknesses(password).length ? { password: t("error.weak") } : {}),
        ...(length(displayName) > NAME_MAX
          ? { displayName: t("error.long", { max: NAME_MAX }) }
          : {}),
      }),
      send: async ({ displayName, ...rest }) => {
        await account.register(displayName.trim() ? { ...rest, displayName } : rest);
        go(afterSignIn(), true);
      },
    },
  );
  return html`
    <${Door} title=${t("signUp.title")} welcome>
      <form class="form" onSubmit=${submit} novalidate>
        <h2>${t("signUp.title")}</h2>
        <${Field} ...${field("displayName")} label=${t("field.displayName")} optional
          autocomplete="name" />
        <${Field} ...${field("handle")} label=${t("field.handle")} hint=${t("field.handleHint")}
          dir="ltr" autocomplete="username" autocapitalize="off" spellcheck=${false} maxlength="30" />
        <${Field} ...${field("email")} label=${t("field.email")} type="email" dir="ltr"
          autocomplete="email" />
        <${PasswordField} ...${field("password")} label=${t("field.password")} rules
          autocomplete="new-password" value=${values.password} />
        <${FormProblem} problem=${problem} />
        <button type="submit" class="button strong" aria-disabled=${busy}>${t("signUp.button")}</button>
      </form>
      <p class="door-other">${t("signUp.already")} <a href=${other("/sign-in")}>${t("signIn.title")}</a></p>
    <//>
  `;
}

export function SignIn() {
  const wanted = new URLSearchParams(place.value.search).has("to");
  const { field, submit, busy, problem } = useForm(
    { email: "", password: "" },
    {
      check: ({ email, password }) => ({
        ...(isEmail(email) ? {} : { email: t("error.email") }),
        ...(password ? {} : { password: t("error.empty") }),
      }),
      send: async (values) => {
        await account.signIn(values);
        go(afterSignIn(), true);
      },
    },
  );
  return html`
    <${Door} title=${t("signIn.title")} note=${wanted ? t("signIn.ended") : undefined}>
      <form class="form" onSubmit=${submit} novalidate>
        <${Field} ...${field("email")} label=${t("field.email")} type="email" dir="ltr"
          autocomplete="username" />
        <${PasswordField} ...${field("password")} label=${t("field.password")}
          autocomplete="current-password" />
        <${FormProblem} problem=${problem} />
        <button type="submit" class="button strong" aria-disabled=${busy}>${t("signIn.button")}</button>
      </form>
      <p class="door-other"><a href=${other("/forgot")}>${t("forgot.link")}</a></p>
      <p class="door-other">${t("signIn.new")} <a href=${other("/sign-up")}>${t("signUp.title")}</a></p>
    <//>
  `;
}

/** Another password, for who lost theirs: a code by e-mail, then the code and the password. */
export function Forgot() {
  // A link that an operator gave; nobody who looks on later finds the code in the address.
  const [given] = useState(() => new URLSearchParams(location.hash.slice(1)));
  const [sentTo, sent] = useState(given.get("code") ? given.get("email") : null);
  useEffect(() => {
    if (location.hash) history.replaceState(history.state, "", location.pathname + location.search);
  }, []);
  return html`
    <${Door} title=${t("forgot.title")}>
      ${sentTo === null
        ? html`<${AskCode} onSent=${sent} />`
        : html`<${ChoosePassword} email=${sentTo} given=${given.get("code") ?? ""} />`}
      <p class="door-other"><a href=${other("/sign-in")}>${t("signIn.title")}</a></p>
    <//>
  `;
}

/** @param {{onSent: (email: string) => void}} props */
function AskCode({ onSent }) {
  const { field, submit, busy, problem } = useForm(
    { email: "" },
    {
      check: ({ email }) => /** @type {{email?: string}} */ (
        isEmail(email) ? {} : { email: t("error.email") }
      ),
      send: async ({ email }) => {
        await account.forgot(email);
        onSent(email);
      },
    },
  );
  return html`
    <form class="form" onSubmit=${submit} novalidate>
      <p>${t("forgot.text")}</p>
      <${Field} ...${field("email")} label=${t("field.email")} type="email" dir="ltr"
        autocomplete="username" />
      <${FormProblem} problem=${problem} />
      <button type="submit" class="button strong" aria-disabled=${busy}>${t("forgot.button")}</button>
    </form>
  `;
}

/** @param {{email: string, given: string}} props */
function ChoosePassword({ email, given }) {
  const { field, values, submit, busy, problem } = useForm(
    { code: given, password: "" },
    {
      check: ({ code, password }) => ({
        ...(code.trim() ? {} : { code: t("error.empty") }),
        ...(weaknesses(password).length ? { password: t("error.weak") } : {}),
      }),
      send: async ({ code, password }) => {
        await account.reset({ email, code, password });
        await account.signIn({ email, password });
        go(afterSignIn(), true);
      },
    },
  );
  return html`
    <form class="form" onSubmit=${submit} novalidate>
      <p role="status">${t(given ? "forgot.given" : "forgot.sent", { email })}</p>
      <${Field} ...${field("code")} label=${t("field.code")} dir="ltr"
        autocomplete="one-time-code" autocapitalize="characters" spellcheck=${false} />
      <${PasswordField} ...${field("password")} label=${t("field.newPassword")} rules
        autocomplete="new-password" value=${values.password} />
      <${FormProblem} problem=${problem} />
      <button type="submit" class="button strong" aria-disabled=${busy}>${t("forgot.choose")}</button>
    </form>
  `;
}
