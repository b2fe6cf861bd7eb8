// A field of a form: label, hint, the error at its place; and passwords with their rules.
import { useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { weaknesses } from "../text.js";
import { html } from "./html.js";
import { Icon } from "./icon.js";

/**
 * @typedef {{name: string, label: string, value: string, error?: string, hint?: string,
 *   optional?: boolean, set: (value: string) => void, [attribute: string]: any}} FieldProps
 */

/** @param {FieldProps} props */
export function Field({ name, label, value, error, hint, optional, set, rows, after, ...rest }) {
  const described = [hint && `${name}-hint`, error && `${name}-error`].filter(Boolean).join(" ");
  const attributes = {
    id: name,
    name,
    value,
    dir: "auto",
    "aria-invalid": error ? "true" : undefined,
    "aria-describedby": described || undefined,
    onInput: (/** @type {any} */ event) => set(event.currentTarget.value),
    ...rest,
  };
  return html`
    <div class=${error ? "field wrong" : "field"}>
      <label for=${name}>
        ${label}${optional && html` <span class="optional">(${t("field.optional")})</span>`}
      </label>
      ${hint && html`<p class="field-hint" id=${`${name}-hint`}>${hint}</p>`}
      <div class="field-box">
        ${rows
          ? html`<textarea rows=${rows} ...${attributes}></textarea>`
          : html`<input ...${attributes} />`}
        ${after}
      </div>
      ${error && html`<p class="field-error" id=${`${name}-error`}>${error}</p>`}
    </div>
  `;
}

/** @param {FieldProps & {rules?: boolean}} props */
export function PasswordField({ rules, ...props }) {
  const [shown, show] = useState(false);
  const toggle = html`
    <button type="button" class="action" aria-pressed=${shown} onClick=${() => show(!shown)}>
      <${Icon} name=${shown ? "eye-off" : "eye"} />
      <span class="unseen">${shown ? t("field.hide") : t("field.show")}</span>
    </button>
  `;
  return html`
    <${Field} ...${props} dir="ltr" type=${shown ? "text" : "password"} after=${toggle}
      autocapitalize="off" spellcheck=${false} />
    ${rules && html`<${Rules} text=${props.value} />`}
  `;
}

/** @param {{text: string}} props */
function Rules({ text }) {
  const unmet = new Set(weaknesses(text));
  const rules = /** @type {const} */ (["length", "letter", "digit", "symbol"]);
  return html`
    <ul class="rules">
      ${rules.map((rule) => html`
        <li class=${unmet.has(rule) ? "" : "met"}>
          <${Icon} name="check" />${t(`rule.${rule}`)}
          <span class="unseen">: ${unmet.has(rule) ? t("rule.unmet") : t("rule.met")}</span>
        </li>
      `)}
    </ul>
  `;
}
