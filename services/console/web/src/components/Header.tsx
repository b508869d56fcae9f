import type { Application } from "../api";
import { type Choice, useThemeChoice } from "../theme";
import { show } from "../url";

interface Props {
  applications: Application[];
  chosen: number | null;
}

export function Header({ applications, chosen }: Props) {
  const [theme, setTheme] = useThemeChoice();
  const known = applications.some((application) => application.SdkAppId === chosen);
  return (
    <header>
      <a className="skip" href="#main">
        Skip to the numbers
      </a>
      <h1>
        <img src="/favicon.svg" alt="" width="26" height="26" /> Roompulse
      </h1>
      <label className="field">
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
      <label className="field theme">
        <span>Theme</span>
        <select data-testid="theme" value={theme} onChange={(event) => setTheme(event.target.value as Choice)}>
          <option value="auto">as the system</option>
          <option value="light">light</option>
          <option value="dark">dark</option>
        </select>
      </label>
    </header>
  );
}
