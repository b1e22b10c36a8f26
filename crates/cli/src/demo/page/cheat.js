// Step 4: four requests that must not come through.

import { play } from "./diagram.js";
import * as gateway from "./gateway.js";
import { el } from "./view.js";

const CHEATS = [
  {
    title: "The whole JWT", button: "Send the whole JWT", expected: 401,
    why: "Suppose a JWT leaked from a log of the provider or an API. It is genuine and not expired.",
    outcome: "A leaked JWT is worth nothing at this gateway.",
    send: ({ jwt }) => gateway.call(jwt),
  },
  {
    title: "A wrong signature", button: "Send a wrong signature", expected: 401,
    why: "One letter of the token is another one: as good as a guess.",
    outcome: "Almost right is wrong, and the answer does not say how near it was.",
    send: ({ token }) => gateway.call((token[0] === "A" ? "B" : "A") + token.slice(1)),
  },
  {
    title: "A part of the token", button: "Send half of the token", expected: 401,
    why: "The first half, as a careless log or a cut line might hold it.",
    outcome: "Half a token opens nothing.",
    send: ({ token }) => gateway.call(token.slice(0, token.length / 2)),
  },
  {
    title: "The token in the address", button: "Send it in the address", expected: 400,
    why: "A good token as ?access_token=…, where histories and logs would keep it.",
    outcome: "Even a good token is refused there: addresses end up in logs.",
    send: ({ token }) => gateway.call(null, `?access_token=${encodeURIComponent(token)}`),
  },
];

// Builds the four cards and the button that tries all.
export function cheats(list, allButton, said, { wireUp, state, withToken }) {
  const tries = CHEATS.map((cheat) => {
    const answer = el("div", "answer");
    answer.hidden = true;
    const button = el("button", "plain", cheat.button);
    button.type = "button";
    list.append(el("li", "panel", el("h3", "", cheat.title), el("p", "", cheat.why), button, answer));
    const attempt = async () => {
      const { status, headers } = await cheat.send(state);
      show(answer, cheat, status, headers.get("www-authenticate"));
      return status;
    };
    wireUp(button, said, async () => {
      const first = await withToken();
      const status = await attempt();
      play("cheat");
      return first + (status === cheat.expected ? `${status}: ${cheat.outcome}` : unexpected(cheat, status));
    });
    return attempt;
  });
  wireUp(allButton, said, async () => {
    const first = await withToken();
    const statuses = [];
    for (const attempt of tries) statuses.push(await attempt());
    play("cheat");
    const wrong = CHEATS.findIndex((cheat, index) => statuses[index] !== cheat.expected);
    return first + (wrong < 0
      ? `All four were refused: ${statuses.join(", ")}.`
      : unexpected(CHEATS[wrong], statuses[wrong]));
  });
}

function show(answer, cheat, status, challenge) {
  const good = status === cheat.expected;
  answer.replaceChildren(
    el("span", `badge ${good ? "good" : "bad"}`, good ? `${status} refused` : `${status} not expected`),
    el("code", "", `WWW-Authenticate: ${challenge ?? "(none)"}`),
    el("p", "", good ? cheat.outcome : unexpected(cheat, status)),
  );
  answer.hidden = false;
}

const unexpected = (cheat, status) =>
  `${cheat.title}: expected ${cheat.expected}, but the gateway answered ${status}. That should not be.`;
