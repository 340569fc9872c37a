/** Theme: light or dark, as the system has it or as it was chosen. */

import { signal } from "@preact/signals";

const KEY = "theme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export const isDark = signal(dark.matches);

/** Takes what was chosen before. */
export function begin(): void {
  set(stored() ?? (dark.matches ? "dark" : "light"));
  dark.addEventListener("change", () => stored() ?? set(dark.matches ? "dark" : "light"));
}

/** Changes to the other one, and keeps it. */
export function change(): void {
  const theme = isDark.value ? "light" : "dark";
  set(theme);
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // It holds until the page is left.
  }
}

/** What a colour of the style sheet is now, as a canvas takes it. */
export function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function set(theme: string): void {
  document.documentElement.dataset["theme"] = theme;
  isDark.value = theme === "dark";
}

function stored(): string | undefined {
  try {
    return localStorage.getItem(KEY) ?? undefined;
  } catch {
    return undefined;
  }
}
