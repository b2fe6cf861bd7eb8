// Light or dark: as the system says, unless the reader says otherwise.
import { theme } from "./state.js";
import * as store from "./store.js";

const KEY = "mini-sns.theme";

export function start() {
  const chosen = store.read(KEY);
  theme.value = chosen === "light" || chosen === "dark" ? chosen : "auto";
}

/** @param {"auto" | "light" | "dark"} name */
export function choose(name) {
  theme.value = name;
  if (name === "auto") {
    delete document.documentElement.dataset.theme;
    store.write(KEY, null);
  } else {
    document.documentElement.dataset.theme = name;
    store.write(KEY, name);
  }
}
