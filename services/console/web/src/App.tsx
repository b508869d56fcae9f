import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";

import { applications } from "./api";
import { Board } from "./components/Board";
import { Header } from "./components/Header";
import { Notice } from "./components/Notice";
import { zoneChoice } from "./format";
import { usePreference } from "./preference";
import { show, useView } from "./url";

export function App() {
  usePreference(zoneChoice); // how everything below writes times
  const view = useView();
  const query = useQuery({
    queryKey: ["applications"],
    queryFn: ({ signal }) => applications(signal),
    refetchInterval: (query) => (query.state.status === "error" ? 3_000 : 30_000),
  });
  const first = query.data?.[0]?.SdkAppId ?? null;
  useEffect(() => {
    if (view.app === null && first !== null) show({ app: first, at: null }, { replace: true });
  }, [view.app, first]);
  const chosen = query.data?.find((application) => application.SdkAppId === view.app);
  useEffect(() => {
    document.title = chosen ? `${chosen.Name} · Roompulse` : "Roompulse";
  }, [chosen]);

  return (
    <>
      <Header applications={query.data ?? []} chosen={view.app} />
      <main id="main">
        {query.isError && !query.data && (
          <Notice kind="error" title="The applications cannot be read">
            <p>{query.error.message}. This page tries again by itself.</p>
          </Notice>
        )}
        {query.isPending && <p className="loading">Loading applications …</p>}
        {query.data?.length === 0 && (
          <Notice kind="empty" title="There is no application yet">
            <p>
              An application is a customer of yours: a number, a key, and the URLs of its callbacks. Make one, and it
              appears here:
            </p>
            <pre>roompulse app create --name mine</pre>
          </Notice>
        )}
        {query.data && query.data.length > 0 && view.app !== null && !chosen && (
          <Notice kind="error" title={`There is no application ${view.app}`}>
            <p>Choose one of the others above.</p>
          </Notice>
        )}
        {chosen && <Board key={chosen.SdkAppId} application={chosen} at={view.at} />}
      </main>
    </>
  );
}
