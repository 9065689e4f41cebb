"use strict";
// What joins the parts: addresses that point at a scenario, and links into the log.

(function () {
  function arrive() {
    const id = decodeURIComponent(location.hash.slice(1));
    const scenario = id && document.getElementById(id);
    if (!scenario || !scenario.classList.contains("scenario")) return;
    if ("open" in scenario) scenario.open = true;
    const index = [...document.querySelectorAll(".scenario")].indexOf(scenario);
    const wanted = data.views.find((candidate) => candidate.outcome === index);
    if (wanted) {
      view.zero = wanted.zero;
      view.set(wanted.from, wanted.to);
    }
  }

  for (const link of document.querySelectorAll("[data-log]")) {
    link.addEventListener("click", () => view.choose(Number(link.dataset.log), true));
  }
  addEventListener("hashchange", arrive);
  arrive();
  // A test looks for this: everything before it went well.
  document.documentElement.dataset.ready = "yes";
})();
