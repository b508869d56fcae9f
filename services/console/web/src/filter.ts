import { useEffect, useState } from "react";

const PAUSE_MS = 250;

/** A text that follows another when that has not changed for a moment: what is typed need not be asked for at once. */
export function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(text), PAUSE_MS);
    return () => window.clearTimeout(timer);
  }, [text]);
  return settled;
}
