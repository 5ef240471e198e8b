/** The sections of the page as tabs: one is shown, arrow keys go from one to the next. */

/** @param {(name: string) => void} shown called with the section that comes to be shown */
export function beginTabs(shown) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const nameOf = (tab) => tab.id.replace("tab-", "");
  const select = (chosen) => {
    for (const tab of tabs) {
      const isChosen = tab === chosen;
      tab.setAttribute("aria-selected", String(isChosen));
      tab.tabIndex = isChosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !isChosen;
    }
    shown(nameOf(chosen));
  };
  const choose = (tab) => {
    history.replaceState(null, "", `#${nameOf(tab)}`);
    select(tab);
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: tabs.length - 1 };
      if (!(event.key in steps)) return;
      event.preventDefault();
      const next = tabs.at(steps[event.key] % tabs.length);
      next.focus();
      choose(next);
    });
  }
  const named = () => tabs.find((tab) => `#${nameOf(tab)}` === location.hash);
  window.addEventListener("hashchange", () => named() && select(named()));
  select(named() ?? tabs[0]);
}
