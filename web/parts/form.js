// A form's life: what is typed, sent once at a time, and what was wrong at which field.
import { useState } from "preact/hooks";
import { t } from "../i18n/index.js";
import { html } from "./html.js";
import { Details } from "./states.js";
import { asProblem } from "../wire.js";

/** @import {Problem} from "../wire.js" */

/** Codes that mean one field. @type {Record<string, string>} */
const FIELD_OF = { email_taken: "email", handle_taken: "handle", wrong_code: "code" };

/**
 * @template {Record<string, string>} V
 * @param {V} initial
 * @param {{check: (values: V) => Partial<Record<keyof V, string>>, send: (values: V) => Promise<void>}} how
 */
export function useForm(initial, { check, send }) {
  const [values, setValues] = useState(initial);
  const [errors, setErrors] = useState(/** @type {Record<string, string>} */ ({}));
  const [problem, setProblem] = useState(/** @type {Problem | null} */ (null));
  const [busy, setBusy] = useState(false);

  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    if (busy) return;
    const form = /** @type {HTMLFormElement} */ (event.currentTarget);
    const wrong = /** @type {Record<string, string>} */ (check(values));
    setErrors(wrong);
    setProblem(null);
    if (Object.keys(wrong).length > 0) return focusWrong(form);
    setBusy(true);
    try {
      await send(values);
    } catch (error) {
      const refused = asProblem(error);
      const fields = byField(refused, Object.keys(initial));
      setErrors(fields);
      // What is said at a field need not be said again below.
      if (Object.keys(fields).length === 0) setProblem(refused);
      focusWrong(form);
    }
    setBusy(false);
  };

  const field = (/** @type {keyof V & string} */ name) => ({
    name,
    value: values[name],
    error: errors[name],
    set: (/** @type {string} */ value) => {
      setValues((before) => ({ ...before, [name]: value }));
      setErrors(({ [name]: _, ...rest }) => rest);
    },
  });
  const clear = () => setValues(initial);
  return { values, field, submit, busy, problem, clear, fill: setValues };
}

/** @param {Problem} problem @param {string[]} names @returns {Record<string, string>} */
function byField(problem, names) {
  const field = FIELD_OF[problem.code];
  if (field && names.includes(field)) return { [field]: t(`problem.${problem.code}`) };
  const told = problem.errors.filter((error) => names.includes(error.field));
  const text = (/** @type {{field: string, message: string}} */ error) => {
    if (problem.code === "weak_password" && /password/i.test(error.field)) return t("error.weak");
    if (error.field === "handle") return t("error.handle");
    if (error.field === "email") return t("error.email");
    return t("problem.validation_failed");
  };
  return Object.fromEntries(told.map((error) => [error.field, text(error)]));
}

/** @param {HTMLFormElement} form */
function focusWrong(form) {
  requestAnimationFrame(() => {
    /** @type {HTMLElement | null} */ (form.querySelector("[aria-invalid]"))?.focus();
  });
}

/** @param {{problem: Problem | null}} props */
export function FormProblem({ problem }) {
  return html`<div class="form-problem" role="alert">
    ${problem && html`<p>${t(`problem.${problem.code}`)}</p><${Details} id=${problem.requestId} />`}
  </div>`;
}
