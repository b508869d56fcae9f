import type { Application } from "../api";
import { zoneChoice } from "../format";
import { type Preference, usePreference } from "../preference";
import { themeChoice } from "../theme";
import { show } from "../url";

interface Props {
  applications: Application[];
  chosen: number | null;
}

export function Header({ applications, chosen }: Props) {
  const known = applications.some((application) => application.SdkAppId === chosen);
  return (
    <header>
      <a className="skip" href="#main">
        Skip to the numbers
      </a>
      <h1>
        <img src="/favicon.svg" alt="" width="26" height="26" /> Roompulse
      </h1>
      <label className="field application">
        <span>Application</span>
        <select
          data-testid="application"
          value={known ? String(chosen) : ""}
          disabled={applications.length === 0}
          onChange={(event) => show({ app: Number(event.target.value), at: null })}
        >
          {!known && <option value="">{chosen === null ? "none" : `${chosen} (unknown)`}</option>}
          {applications.map((application) => (
            <option key={application.SdkAppId} value={application.SdkAppId}>
              {application.Name} · {application.SdkAppId}
              {application.Status === "disabled" ? " · disabled" : ""}
            </option>
          ))}
        </select>
      </label>
      <div className="preferences">
        <Choice label="Time" preference={zoneChoice} words={{ local: "local", utc: "UTC" }} />
        <Choice label="Theme" preference={themeChoice} words={{ auto: "system", light: "light", dark: "dark" }} />
      </div>
    </header>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  preference: Preference<T>;
  words: Record<T, string>;
}

function Choice<T extends string>({ label, preference, words }: ChoiceProps<T>) {
  const value = usePreference(preference);
  return (
    <label className="field">
      <span>{label}</span>
      <select
        data-testid={label.toLowerCase()}
        value={value}
        onChange={(event) => preference.choose(event.target.value as T)}
      >
        {Object.entries<string>(words).map(([choice, word]) => (
          <option key={choice} value={choice}>
            {word}
          </option>
        ))}
      </select>
    </label>
  );
}
