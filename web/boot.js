// Before the first paint: the theme and language that were chosen, so that nothing flashes.
(() => {
  const root = document.documentElement;
  try {
    const theme = localStorage.getItem("mini-sns.theme");
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    const asked = navigator.languages.map((name) => name.slice(0, 2));
    const language =
      localStorage.getItem("mini-sns.language") ??
      asked.find((name) => name === "ja" || name === "en");
    root.lang = language === "ja" ? "ja" : "en";
  } catch {
    // A browser that keeps nothing shows the defaults.
  }
})();
