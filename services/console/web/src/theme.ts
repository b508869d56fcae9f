import { useSyncExternalStore } from "react";

import { Preference } from "./preference";

export type Theme = "light" | "dark";

/** The choice; public/theme.js reads it too, before the first paint. */
export const themeChoice = new Preference("theme", ["auto", "light", "dark"]);

const system = window.matchMedia("(prefers-color-scheme: dark)");

themeChoice.subscribe(apply);
system.addEventListener("change", apply);

/** The theme in force. */
export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, theme);
}

function theme(): Theme {
  return themeChoice.value === "auto" ? (system.matches ? "dark" : "light") : themeChoice.value;
}

function apply(): void {
  document.documentElement.dataset["theme"] = theme();
}

function subscribe(listener: () => void): () => void {
  const unsubscribe = themeChoice.subscribe(listener);
  system.addEventListener("change", listener);
  return () => {
    unsubscribe();
    system.removeEventListener("change", listener);
  };
}
