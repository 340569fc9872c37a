/** Languages: whether a model knows the one that a request names. */
import { badInput } from "../failure";

/** Languages that an error lists. */
const LISTED = 20;

export function checkLanguage(language: string, known: readonly string[]): void {
  if (known.includes(language)) return;
  const more = known.length > LISTED ? ` and ${known.length - LISTED} more` : "";
  const listed = known.slice(0, LISTED).join(", ") + more;
  throw badInput(`the model does not know the language ${JSON.stringify(language)}; it knows ${listed}`);
}
