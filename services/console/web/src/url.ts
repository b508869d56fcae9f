import { useSyncExternalStore } from "react";

/** What the page shows, kept in its address so that it can be shared and gone back to. */
export interface View {
  /** SdkAppId, null for the first application. */
  app: number | null;
  /** The bucket that the page is paused at, null for live. */
  at: number | null;
}

const CHANGED = "viewchange";

export function useView(): View {
  const query = useSyncExternalStore(subscribe, () => window.location.search);
  const parameters = new URLSearchParams(query);
  return { app: wholeNumber(parameters.get("app")), at: wholeNumber(parameters.get("at")) };
}

/** Go to a view; `replace` leaves no entry in the history. */
export function show(view: View, { replace = false } = {}): void {
  const url = new URL(window.location.href);
  for (const [name, value] of Object.entries(view)) {
    if (value === null) url.searchParams.delete(name);
    else url.searchParams.set(name, String(value));
  }
  if (replace) window.history.replaceState(null, "", url);
  else window.history.pushState(null, "", url);
  window.dispatchEvent(new Event(CHANGED));
}

function subscribe(onChange: () => void): () => void {
  window.addEventListener("popstate", onChange);
  window.addEventListener(CHANGED, onChange);
  return () => {
    window.removeEventListener("popstate", onChange);
    window.removeEventListener(CHANGED, onChange);
  };
}

function wholeNumber(text: string | null): number | null {
  return text !== null && /^\d{1,13}$/.test(text) ? Number(text) : null;
}
