// Light or dark: as the system says, unless the reader says otherwise.
import { theme } from "./state.js";

const KEY = "mini-sns.theme";

export function start() {
  const chosen = localStorage.getItem(KEY);
  theme.value = chosen === "light" || chosen === "dark" ? chosen : "auto";
}

/** @param {"auto" | "light" | "dark"} name */
export function choose(name) {
  theme.value = name;
  if (name === "auto") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem(KEY);
  } else {
    document.documentElement.dataset.theme = name;
    localStorage.setItem(KEY, name);
  }
}
