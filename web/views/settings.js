// Settings: the profile, how the client looks, and the account itself.
import { useEffect, useRef, useState } from "preact/hooks";
import { signOut } from "../actions.js";
import { account, users } from "../api.js";
import { collect } from "../export.js";
import { learnHides } from "../hides.js";
import { choose as chooseLanguage, t } from "../i18n/index.js";
import { hiddenBy } from "../lists.js";
import { language, me, notice, theme } from "../state.js";
import { BIO_MAX, NAME_MAX, length, weaknesses } from "../text.js";
import { choose as chooseTheme } from "../theme.js";
import { Field, PasswordField } from "../parts/field.js";
import { FormProblem, useForm } from "../parts/form.js";
import { html } from "../parts/html.js";
import { Head } from "../parts/page.js";
import { HideButton, PersonRow } from "../parts/person.js";
import { Scroll } from "../parts/scroll.js";
import { isHandle } from "./strangers.js";
import { asProblem } from "../wire.js";

/** @import {Hide, OwnProfile} from "../types.d.ts" */

/** @param {{id: string, title: string, text?: string, children?: any}} props */
const Section = ({ id, title, text, children }) => html`
  <section class="section" aria-labelledby=${`section-${id}`}>
    <h2 id=${`section-${id}`}>${title}</h2>
    ${text && html`<p class="section-text">${text}</p>`}
    ${children}
  </section>
`;

export function Settings() {
  const user = me.value;
  if (!user) return null;
  return html`
    <${Head} title=${t("settings.title")} />
    ${user.emailConfirmed === false && html`<${Confirmation} email=${user.email} />`}
    <${Profile} key=${user.userId} />
    <${Appearance} />
    <${Password} email=${user.email} />
    <${Hidden} />
    <${Export} />
    <${Section} id="sessions" title=${t("settings.sessions")} text=${t("signOut.everywhereText")}>
      <div class="buttons">
        <button type="button" class="button" onClick=${() => signOut(false)}>${t("signOut.button")}</button>
        <button type="button" class="button quiet" onClick=${() => signOut(true)}>
          ${t("signOut.everywhere")}
        </button>
      </div>
    <//>
    <${Deletion} email=${user.email} />
    <${Colophon} />
  `;
}

/** What this client is made of, and where programs find the server. */
function Colophon() {
  // The page knows the address, which changes with the text.
  const licences = document.querySelector("link[rel=license]")?.getAttribute("href");
  return html`
    <footer class="colophon">
      <a href="/docs">${t("settings.api")}</a>
      <a href=${licences} target="_blank">${t("settings.licences")}</a>
    </footer>
  `;
}

/** Until the address is confirmed, where the server asks for that. @param {{email: string}} props */
function Confirmation({ email }) {
  const { field, submit, busy, problem } = useForm(
    { code: "" },
    {
      check: ({ code }) => /** @type {{code?: string}} */ (
        code.trim() ? {} : { code: t("error.empty") }
      ),
      send: async ({ code }) => {
        await account.confirmEmail(code);
        await users.me();
        notice.value = { text: t("confirm.done") };
      },
    },
  );
  const again = async () => {
    try {
      await account.askConfirmation();
      notice.value = { text: t("confirm.sent", { email }) };
    } catch (error) {
      notice.value = { text: t(`problem.${asProblem(error).code}`) };
    }
  };
  return html`
    <${Section} id="confirm" title=${t("confirm.title")} text=${t("confirm.text", { email })}>
      <form class="form" onSubmit=${submit} novalidate>
        <${Field} ...${field("code")} label=${t("field.code")} dir="ltr"
          autocomplete="one-time-code" autocapitalize="characters" spellcheck=${false} />
        <${FormProblem} problem=${problem} />
        <div class="buttons">
          <button type="submit" class="button" aria-disabled=${busy}>${t("confirm.button")}</button>
          <button type="button" class="button quiet" onClick=${again}>${t("confirm.again")}</button>
        </div>
      </form>
    <//>
  `;
}

/** @param {OwnProfile} profile */
const editable = ({ displayName, handle, bio }) => ({ displayName, handle, bio });

function Profile() {
  const shown = useRef(editable(/** @type {OwnProfile} */ (me.peek())));
  /** @param {typeof shown.current} values */
  const changed = (values) =>
    Object.entries(values).filter(
      ([name, value]) => value !== shown.current[/** @type {keyof typeof values} */ (name)],
    );
  const { field, submit, busy, problem, fill } = useForm(
    shown.current,
    {
      check: ({ handle, displayName, bio }) => ({
        ...(isHandle(handle) ? {} : { handle: t("error.handle") }),
        ...(length(displayName) > NAME_MAX
          ? { displayName: t("error.long", { max: NAME_MAX }) }
          : {}),
        ...(length(bio) > BIO_MAX ? { bio: t("error.long", { max: BIO_MAX }) } : {}),
      }),
      send: async (values) => {
        shown.current = editable(await users.edit(Object.fromEntries(changed(values))));
        fill(() => shown.current);
        notice.value = { text: t("settings.saved") };
      },
    },
  );
  useEffect(() => {
    // It may have been changed elsewhere; what is typed already stays.
    void users.me().then((now) => {
      fill((values) => {
        if (changed(values).length > 0) return values;
        shown.current = editable(now);
        return shown.current;
      });
    }, () => {});
  }, []);
  return html`
    <${Section} id="profile" title=${t("settings.profile")}>
      <form class="form" onSubmit=${submit} novalidate>
        <${Field} ...${field("displayName")} label=${t("field.displayName")} optional
          autocomplete="name" />
        <${Field} ...${field("handle")} label=${t("field.handle")} hint=${t("field.handleHint")}
          dir="ltr" autocapitalize="off" autocomplete="off" spellcheck=${false} maxlength="30" />
        <${Field} ...${field("bio")} label=${t("field.bio")} optional rows=${3} />
        <${FormProblem} problem=${problem} />
        <button type="submit" class="button" aria-disabled=${busy}>${t("settings.save")}</button>
      </form>
    <//>
  `;
}

function Appearance() {
  /** @type {["auto" | "light" | "dark", string][]} */
  const themes = [
    ["auto", t("settings.themeAuto")],
    ["light", t("settings.themeLight")],
    ["dark", t("settings.themeDark")],
  ];
  /** @type {["ja" | "en", string][]} */
  const languages = [["ja", "日本語"], ["en", "English"]];
  const choices = (
    /** @type {string} */ name, /** @type {string} */ label, /** @type {string[][]} */ values,
    /** @type {string} */ now, /** @type {(value: any) => void} */ choose,
  ) => html`
    <fieldset class="choices">
      <legend>${label}</legend>
      ${values.map(([value, text]) => html`
        <label>
          <input type="radio" name=${name} value=${value} checked=${now === value}
            onChange=${() => choose(value)} />
          <span lang=${name === "language" ? value : undefined}>${text}</span>
        </label>
      `)}
    </fieldset>
  `;
  return html`
    <${Section} id="appearance" title=${t("settings.appearance")}>
      ${choices("language", t("settings.language"), languages, language.value, chooseLanguage)}
      ${choices("theme", t("settings.theme"), themes, theme.value, chooseTheme)}
    <//>
  `;
}

/** Password managers want to know whose password it is. @param {{email: string}} props */
const Whose = ({ email }) => html`
  <input type="hidden" name="username" autocomplete="username" value=${email} />
`;

/** @param {{email: string}} props */
function Password({ email }) {
  const form = useForm(
    { currentPassword: "", newPassword: "" },
    {
      check: ({ currentPassword, newPassword }) => ({
        ...(currentPassword ? {} : { currentPassword: t("error.empty") }),
        ...(weaknesses(newPassword).length ? { newPassword: t("error.weak") } : {}),
      }),
      send: async (values) => {
        await account.changePassword(values);
        form.clear();
        notice.value = { text: t("settings.passwordDone") };
      },
    },
  );
  return html`
    <${Section} id="password" title=${t("settings.password")} text=${t("settings.passwordText")}>
      <form class="form" onSubmit=${form.submit} novalidate>
        <${Whose} email=${email} />
        <${PasswordField} ...${form.field("currentPassword")} label=${t("field.currentPassword")}
          autocomplete="current-password" />
        <${PasswordField} ...${form.field("newPassword")} label=${t("field.newPassword")} rules
          autocomplete="new-password" />
        <${FormProblem} problem=${form.problem} />
        <button type="submit" class="button" aria-disabled=${form.busy}>
          ${t("settings.passwordButton")}
        </button>
      </form>
    <//>
  `;
}

/** Whom one blocks and mutes: each list is read when it is opened. */
function Hidden() {
  return html`
    <${Section} id="hidden" title=${t("settings.hidden")} text=${t("settings.hiddenText")}>
      <${HiddenList} kind="block" title=${t("settings.blocks")} none=${t("settings.noBlocks")} />
      <${HiddenList} kind="mute" title=${t("settings.mutes")} none=${t("settings.noMutes")} />
    <//>
  `;
}

/** @param {{kind: Hide, title: string, none: string}} props */
function HiddenList({ kind, title, none }) {
  const [open, setOpen] = useState(false);
  return html`
    <details class="hidden-people" onToggle=${(/** @type {any} */ event) => setOpen(event.currentTarget.open)}>
      <summary>${title}</summary>
      ${open && html`<${HiddenPeople} kind=${kind} title=${title} none=${none} />`}
    </details>
  `;
}

/** Who is shown again stays on the list until one comes back, so that it can be undone.
 *  @param {{kind: Hide, title: string, none: string}} props */
function HiddenPeople({ kind, title, none }) {
  const list = hiddenBy(kind);
  useEffect(() => {
    void learnHides().then(() => list.load());
  }, [list]);
  const row = (/** @type {string} */ id) => html`
    <${PersonRow} id=${id} brief button=${html`<${HideButton} kind=${kind} id=${id} />`} />
  `;
  return html`<${Scroll} list=${list} row=${row} empty=${html`<p>${none}</p>`} label=${title} />`;
}

function Export() {
  const [busy, setBusy] = useState(false);
  const save = async () => {
    if (busy) return;
    setBusy(true);
    try {
      const data = await collect();
      const blob = new Blob([JSON.stringify(data, null, 2)], { type: "application/json" });
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `mini-sns-${data.profile.handle}.json`;
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      const problem = asProblem(error);
      const text = t(`problem.${problem.code}`);
      notice.value = { text, requestId: problem.requestId, failed: true };
    }
    setBusy(false);
  };
  return html`
    <${Section} id="export" title=${t("settings.export")} text=${t("settings.exportText")}>
      <button type="button" class="button" aria-disabled=${busy} onClick=${save}>
        ${busy ? t("settings.exportBusy") : t("settings.exportButton")}
      </button>
    <//>
  `;
}

/** @param {{email: string}} props */
function Deletion({ email }) {
  const [asking, ask] = useState(false);
  const form = useForm(
    { password: "" },
    {
      check: ({ password }) => (password ? {} : { password: t("error.empty") }),
      send: async ({ password }) => {
        await account.remove(password);
        notice.value = { text: t("settings.deleted") };
      },
    },
  );
  return html`
    <${Section} id="delete" title=${t("settings.delete")} text=${t("settings.deleteText")}>
      ${asking
        ? html`
            <form class="form" onSubmit=${form.submit} novalidate>
              <p>${t("settings.deleteSure")}</p>
              <${Whose} email=${email} />
              <${PasswordField} ...${form.field("password")} label=${t("field.password")}
                autocomplete="current-password" />
              <${FormProblem} problem=${form.problem} />
              <div class="buttons">
                <button type="submit" class="button danger" aria-disabled=${form.busy}>
                  ${t("settings.deleteYes")}
                </button>
                <button type="button" class="button quiet" onClick=${() => ask(false)}>
                  ${t("settings.deleteNo")}
                </button>
              </div>
            </form>
          `
        : html`<button type="button" class="button danger" onClick=${() => ask(true)}>
            ${t("settings.deleteButton")}
          </button>`}
    <//>
  `;
}
