import { useEffect, useSyncExternalStore } from "react";

export type Choice = "auto" | "light" | "dark";
export type Theme = "light" | "dark";

const KEY = "theme"; // public/theme.js reads it too, before the first paint
const CHANGED = "themechange";
const system = window.matchMedia("(prefers-color-scheme: dark)");
let chosen = saved();

system.addEventListener("change", () => apply(chosen));

export function useThemeChoice(): [Choice, (choice: Choice) => void] {
  return [useSyncExternalStore(subscribe, () => chosen), choose];
}

/** The theme in force. */
export function useTheme(): Theme {
  return useSyncExternalStore(subscribe, theme);
}

/** Keep tabs in step with one another. */
export function useThemeOfOtherTabs(): void {
  useEffect(() => {
    const onStorage = (event: StorageEvent) => {
      if (event.key === KEY) apply(saved());
    };
    window.addEventListener("storage", onStorage);
    return () => window.removeEventListener("storage", onStorage);
  }, []);
}

function theme(): Theme {
  return chosen === "auto" ? (system.matches ? "dark" : "light") : chosen;
}

function choose(choice: Choice): void {
  try {
    if (choice === "auto") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, choice);
  } catch {
    // Storage may be forbidden; the choice then holds for this page.
  }
  apply(choice);
}

function apply(choice: Choice): void {
  chosen = choice;
  document.documentElement.dataset["theme"] = theme();
  window.dispatchEvent(new Event(CHANGED));
}

function saved(): Choice {
  try {
    const text = localStorage.getItem(KEY);
    return text === "light" || text === "dark" ? text : "auto";
  } catch {
    return "auto";
  }
}

function subscribe(onChange: () => void): () => void {
  window.addEventListener(CHANGED, onChange);
  return () => window.removeEventListener(CHANGED, onChange);
}
