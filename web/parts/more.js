// What else can be done about a person or a post: mute, block, report.
import { useEffect, useState } from "preact/hooks";
import { posts } from "../api.js";
import { learnHides, setHide } from "../hides.js";
import { t } from "../i18n/index.js";
import { dialog, hidden, notice, person } from "../state.js";
import { REPORT_MAX, length } from "../text.js";
import { Field } from "./field.js";
import { FormProblem, useForm } from "./form.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";
import { nameOf } from "./person.js";

/** @import {Hide} from "../types.d.ts" */

/** @typedef {{userId: string, postId?: string}} Subject  a person, or a post of theirs */

/** @param {Subject} subject */
export const MoreButton = ({ userId, postId }) => html`
  <button type="button" class="action" aria-haspopup="dialog"
    onClick=${() => (dialog.value = { userId, postId })}>
    <${Icon} name="ellipsis" /><span class="unseen">${t("more.button")}</span>
  </button>
`;

const close = () => (dialog.value = null);

/** @param {string} userId */
export function whose(userId) {
  const profile = person(userId).value;
  return profile ? nameOf(profile) : t("post.authorAway");
}

/** @param {{subject: Subject, go: (step: "block" | "report") => void}} props */
export function Choices({ subject, go }) {
  const { userId, postId } = subject;
  useEffect(() => void learnHides(), []);
  const is = { block: hidden.block.value.has(userId), mute: hidden.mute.value.has(userId) };
  const hide = async (/** @type {Hide} */ kind, /** @type {boolean} */ on) => {
    if (!(await setHide(kind, userId, on))) return;
    if (kind === "mute" && on) notice.value = { text: t("hide.muted", { name: whose(userId) }) };
    close();
  };
  return html`
    <ul class="more">
      <li>
        <button type="button" class="button quiet" data-first="true" aria-describedby="more-mute"
          onClick=${() => hide("mute", !is.mute)}>
          ${is.mute ? t("hide.unmute") : t("hide.mute")}
        </button>
        <p id="more-mute">${t("hide.muteText")}</p>
      </li>
      <li>
        <button type="button" class="button quiet" aria-describedby="more-block"
          onClick=${() => (is.block ? hide("block", false) : go("block"))}>
          ${is.block ? t("hide.unblock") : t("hide.block")}
        </button>
        <p id="more-block">${t("hide.blockText")}</p>
      </li>
      <li>
        <button type="button" class="button quiet" aria-describedby="more-report"
          onClick=${() => go("report")}>
          ${t(postId ? "report.post" : "report.person")}
        </button>
        <p id="more-report">${t("report.hint")}</p>
      </li>
    </ul>
  `;
}

/** Asks once. @param {{userId: string}} props */
export function Block({ userId }) {
  const [busy, setBusy] = useState(false);
  const block = async () => {
    setBusy(true);
    if (!(await setHide("block", userId, true))) return setBusy(false);
    notice.value = { text: t("hide.blocked", { name: whose(userId) }) };
    close();
  };
  return html`
    <div class="more">
      <p>${t("hide.blockText")}</p>
      <div class="buttons">
        <button type="button" class="button danger" aria-disabled=${busy} onClick=${block}>
          ${t("hide.block")}
        </button>
        <button type="button" class="button quiet" data-first="true" onClick=${close}>
          ${t("hide.no")}
        </button>
      </div>
    </div>
  `;
}

const REASONS = /** @type {const} */ (["spam", "abuse", "violence", "illegal", "other"]);

/** @param {{subject: Subject}} props */
export function Report({ subject }) {
  const { values, field, submit, busy, problem } = useForm(
    { reason: "", text: "" },
    {
      check: ({ text }) => /** @type {{text?: string}} */ (
        length(text.trim()) > REPORT_MAX ? { text: t("error.long", { max: REPORT_MAX }) } : {}
      ),
      send: async ({ reason, text }) => {
        const { userId, postId } = subject;
        await posts.report({ ...(postId ? { postId } : { userId }), reason, text: text.trim() });
        notice.value = { text: t("report.done") };
        close();
      },
    },
  );
  const reason = field("reason");
  return html`
    <form class="form more" onSubmit=${submit} novalidate>
      <p>${t("report.hint")}</p>
      <fieldset class="choices">
        <legend>${t("report.reason")}</legend>
        ${REASONS.map((name, at) => html`
          <label>
            <input type="radio" name="reason" value=${name} checked=${reason.value === name}
              data-first=${at === 0} onChange=${() => reason.set(name)} />
            <span>${t(`report.${name}`)}</span>
          </label>
        `)}
      </fieldset>
      <${Field} ...${field("text")} label=${t("report.text")} optional rows=${3} />
      <${FormProblem} problem=${problem} />
      <div class="buttons">
        <button type="submit" class="button danger" aria-disabled=${busy} disabled=${!values.reason}>
          ${t("report.button")}
        </button>
        <button type="button" class="button quiet" onClick=${close}>${t("hide.no")}</button>
      </div>
    </form>
  `;
}
