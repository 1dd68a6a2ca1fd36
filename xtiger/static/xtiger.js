/* Live fragments and copy buttons; every page works without this file. */
"use strict";
(() => {
  const root = document.documentElement;

  // Appearance as the system's, before anything is drawn.
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => {
    if (root.dataset.theme === "auto") root.dataset.bsTheme = dark.matches ? "dark" : "light";
  };
  paint();
  dark.addEventListener("change", paint);

  // The server prints times in the reader's zone; only the browser knows which that is.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const kept = `xtiger_zone=${zone}`;
  if (zone && !document.cookie.split("; ").includes(kept)) {
    document.cookie = `${kept}; path=${root.dataset.root || "/"}; max-age=31536000; samesite=lax`;
  }

  const clock = () => new Date().toLocaleTimeString([], { hour12: false });

  const showCopy = (within) => {
    if (!navigator.clipboard) return;
    for (const button of within.querySelectorAll("button[data-copy]")) button.hidden = false;
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  });

  // A row that somebody is busy with is left alone: focus, a tick or an open detail.
  const busy = (element) =>
    element.contains(document.activeElement) ||
    element.querySelector("input[type=checkbox]:checked:not([data-saved]), details[open]") !== null;

  const keyed = (element) =>
    new Map([...element.querySelectorAll("[data-key]")].map((each) => [each.dataset.key, each]));

  const swap = (host, html) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const before = keyed(host);
    const after = keyed(fresh.content);
    const same = [...after.keys()].join("\n") === [...before.keys()].join("\n");
    if (!same && !busy(host)) {
      host.replaceChildren(fresh.content);
      showCopy(host);
      return;
    }
    for (const [key, now] of after) {
      const old = before.get(key);
      if (old && !busy(old) && old.outerHTML !== now.outerHTML) {
        const copy = now.cloneNode(true);
        showCopy(copy);
        old.replaceWith(copy);
      }
    }
    if (!same) notice(host, [...after.keys()].filter((key) => !before.has(key)).length, html);
  };

  const notice = (host, count, html) => {
    const line = host.parentElement.querySelector("[data-poll-note]");
    if (!line || !count) return;
    line.replaceChildren(`${count} new. `);
    const button = document.createElement("button");
    button.className = "btn btn-sm btn-quiet";
    button.textContent = "Show";
    button.addEventListener("click", () => {
      line.replaceChildren();
      host.innerHTML = html;
      showCopy(host);
    });
    line.append(button);
  };

  const poll = (host) => {
    const waits = [2, 5, 15];
    let tag = "";
    let failures = 0;
    let spoken = 0;
    const every = () => Number(host.dataset.every || 10) * 1000;
    const asOf = () => {
      for (const each of document.querySelectorAll("[data-as-of]")) {
        each.textContent = `As of ${clock()}.`;
      }
    };
    const speak = () => {
      const line = document.querySelector("[data-spoken]");
      const said = host.querySelector("[data-say]");
      if (!line || !said || (Date.now() - spoken < 10000 && !said.dataset.end)) return;
      if (line.textContent !== said.dataset.say) line.textContent = said.dataset.say;
      spoken = Date.now();
      if (said.dataset.title) document.title = said.dataset.title;
    };
    const again = (wait) => setTimeout(tick, wait);
    const tick = async () => {
      if (document.hidden) return again(every());
      try {
        const answer = await fetch(host.dataset.poll, {
          headers: tag ? { "If-None-Match": tag } : {},
          credentials: "same-origin",
          redirect: "error",
        });
        if (answer.status !== 304) {
          if (!answer.ok) throw new Error(String(answer.status));
          tag = answer.headers.get("ETag") || "";
          if (answer.headers.get("X-Every")) host.dataset.every = answer.headers.get("X-Every");
          swap(host, await answer.text());
        }
        failures = 0;
        asOf();
        speak();
        if (answer.headers.get("X-Ended")) return undefined;
        return again(every());
      } catch {
        if (failures >= waits.length) return stopped();
        return again(waits[failures++] * 1000);
      }
    };
    const stopped = () => {
      for (const each of document.querySelectorAll("[data-as-of]")) {
        const link = document.createElement("a");
        link.href = location.href;
        link.textContent = "Reload";
        each.replaceChildren(`Live updates stopped at ${clock()}. `, link);
      }
    };
    again(every());
  };

  document.addEventListener("DOMContentLoaded", () => {
    showCopy(document);
    for (const host of document.querySelectorAll("[data-poll]")) poll(host);
    const faults = document.getElementById("faults");
    if (faults) faults.focus();
    for (const all of document.querySelectorAll("input[data-tick-all]")) {
      all.hidden = false;
      all.addEventListener("change", () => {
        for (const one of all.closest("table").querySelectorAll("input[name=ids]")) {
          one.checked = all.checked;
        }
      });
    }
  });
  // An open menu closes when somebody goes elsewhere.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.drop[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.drop[open]")) menu.open = false;
  });
})();
