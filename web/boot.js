// Before the first paint: the theme and language that were chosen, so that nothing flashes; and word
// to the browser which modules will be asked for, so that it need not find out one by one.
(() => {
  const root = document.documentElement;
  const map = document.querySelector("script[type=importmap]")?.textContent ?? "{}";
  const { imports = {} } = JSON.parse(map);
  const preload = (/** @type {string} */ href) => {
    const link = document.createElement("link");
    Object.assign(link, { rel: "modulepreload", href });
    document.head.append(link);
  };
  const asked = navigator.languages.map((name) => name.slice(0, 2));
  /** @type {string | undefined} */
  let language = asked.find((name) => name === "ja" || name === "en");
  let signedIn = false;
  try {
    const theme = localStorage.getItem("mini-sns.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    language = localStorage.getItem("mini-sns.language") ?? language;
    signedIn = localStorage.getItem("mini-sns.session") !== null;
  } catch {
    // A browser that keeps nothing shows the defaults.
  }
  root.lang = language === "ja" ? "ja" : "en";
  preload(imports[`/assets/i18n/${root.lang}.js`]);
  if (!signedIn) return;
  for (const [name, href] of Object.entries(imports)) {
    if (/^\/assets\/(?!i18n\/..\.js)/.test(name)) preload(href);
  }
})();
