import type { SentRequest } from "../api";
import { visible } from "../format";

interface Props {
  url: string;
  /** Null where nothing can be said of it. */
  request: SentRequest | null;
}

/** A request as it goes over the wire. The body is shown as it is: every byte of it is signed. */
export function Request({ url, request }: Props) {
  const lines = Object.entries(request?.Headers ?? {}).map(([name, value]) => `${name}: ${value}`);
  return (
    <>
      <pre data-testid="request-head">{[`POST ${url}`, ...lines].map(visible).join("\n")}</pre>
      {request !== null && <pre data-testid="request-body">{request.Body}</pre>}
    </>
  );
}
