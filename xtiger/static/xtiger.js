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

  // Mapping: results, checks and the settings of a chosen transform come from the server, by the
  // same answer that the Show button gets; inputs that somebody is in are left alone.
  const mapping = (form) => {
    const said = form.querySelector("[data-mapping-said]");
    let wait = 0;
    let asked = 0;
    const ask = async () => {
      const mine = ++asked;
      const entries = new URLSearchParams(new FormData(form));
      entries.set("act", "show");
      try {
        const answer = await fetch(form.action, { method: "POST", body: entries, redirect: "error" });
        if (!answer.ok) throw new Error(String(answer.status));
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (mine !== asked) return;
        for (const old of form.querySelectorAll("[data-live]")) {
          const now = fresh.querySelector(`[data-live="${CSS.escape(old.dataset.live)}"]`);
          if (now && !old.contains(document.activeElement) && old.innerHTML !== now.innerHTML) {
            const open = old.querySelector("details[open]") !== null;
            old.replaceChildren(...now.childNodes);
            for (const fold of old.querySelectorAll("details.row-more")) fold.open ||= open;
          }
        }
        for (const name of ["src_was", "how_was"]) {
          for (const old of form.querySelectorAll(`input[name$="|${name}"]`)) {
            const now = fresh.querySelector(`input[name="${CSS.escape(old.name)}"]`);
            if (now) old.value = now.value;
          }
        }
        for (const old of form.querySelectorAll("select[data-src]")) {
          const now = fresh.getElementById(old.id);
          if (now && now.value !== old.value && old !== document.activeElement) {
            // Options that move one by one lose which of them was chosen.
            const chosen = now.value;
            old.replaceChildren(...now.childNodes);
            old.value = chosen;
          }
        }
        if (said) said.textContent = "";
      } catch {
        if (mine === asked && said) said.textContent = "Results couldn't be read. Press Show.";
      }
    };
    const soon = (milliseconds) => {
      clearTimeout(wait);
      wait = setTimeout(ask, milliseconds);
    };
    form.addEventListener("input", (event) => {
      if (event.target.name !== "on") soon(event.target.tagName === "SELECT" ? 0 : 500);
    });
  };

  // What syncs: how many records the entries select, counted while they are made.
  const counting = (form) => {
    const line = document.getElementById(form.dataset.shownIn);
    let wait = 0;
    let asking = null;
    const ask = async () => {
      if (asking) asking.abort();
      asking = new AbortController();
      const mine = asking;
      line.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(form.dataset.count, {
          method: "POST",
          body: new URLSearchParams(new FormData(form)),
          redirect: "error",
          signal: mine.signal,
        });
        if (!answer.ok) throw new Error(String(answer.status));
        line.innerHTML = await answer.text();
      } catch {
        if (mine.signal.aborted) return;
      }
      line.removeAttribute("aria-busy");
    };
    form.addEventListener("input", (event) => {
      if (event.target.name === "typed") return;
      clearTimeout(wait);
      wait = setTimeout(ask, 400);
    });
    if (line.dataset.counted === "no") ask();
  };

  // A form that only chooses what to look at needs no button.
  const auto = (form) => {
    for (const button of form.querySelectorAll("button")) button.hidden = true;
    form.addEventListener("change", () => form.submit());
  };

  document.addEventListener("DOMContentLoaded", () => {
    showCopy(document);
    for (const form of document.querySelectorAll("form[data-mapping]")) mapping(form);
    for (const form of document.querySelectorAll("form[data-auto]")) auto(form);
    for (const form of document.querySelectorAll("form[data-count]")) counting(form);
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
