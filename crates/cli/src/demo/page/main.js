// The four steps: each button does one thing, shows both sides of it, and says what happened.

import * as gateway from "./gateway.js";
import { play } from "./diagram.js";
import { cheats } from "./cheat.js";
import { showRecords } from "./records.js";
import { $, count, el, facts, jwtText, parts, signatureText, ticket, wire } from "./view.js";

// What the page remembers: the demo's setup, the client's token, and the JWT it was torn from.
const state = { setup: null, token: null, jwt: null };

// Runs a step behind a button: one at a time, and every trouble becomes a sentence.
function wireUp(button, said, action) {
  button.addEventListener("click", async () => {
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    try {
      said.textContent = await action();
      said.className = "said done";
    } catch (error) {
      if (!(error instanceof gateway.Trouble)) console.error(error);
      said.textContent = error instanceof gateway.Trouble ? error.message : "Something went wrong in this page. Reload it.";
      said.className = "said trouble";
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}

async function getToken() {
  state.setup ??= await gateway.setup();
  const grant = document.querySelector("input[name=grant]:checked").value;
  const answer = await gateway.token(grant, state.setup);
  const token = answer.body.access_token;
  const jwt = await gateway.issued();
  Object.assign(state, { token, jwt });
  const { claims, signature, read } = parts(jwt);
  $("issued").replaceChildren(...ticket(jwt));
  $("got").replaceChildren(
    wire([`HTTP ${answer.status}`, `content-type: ${answer.headers.get("content-type")}`, "", ...tokenAnswer(answer.text, token)]),
    facts(
      [token === signature, token === signature
        ? "The access token is the JWT’s signature, letter for letter."
        : "The access token is not the signature of the JWT on the other side: another client asked in between."],
      [!answer.text.includes(claims), "No claim is in the answer."],
      [token.length < jwt.length, `${count(token.length)} characters in place of ${count(jwt.length)}.`],
    ),
  );
  play("token");
  return `The provider issued a JWT of ${count(jwt.length)} characters about ${read.claims.name}; the client got the last ${count(token.length)} of them and can read no claim in them.`;
}

// The answer as it came, with the token coloured.
function tokenAnswer(text, token) {
  const [before, ...after] = text.split(token);
  return [[before, signatureText(token), ...after]];
}

// A token for a step that needs one: the client's own, or a new one first.
async function withToken() {
  if (state.token) return "";
  await getToken();
  $("said-1").textContent = "A later step needed a token, so this one ran by itself.";
  $("said-1").className = "said done";
  return "There was no token yet, so the page got one first. ";
}

async function callApi() {
  const first = await withToken();
  const answer = await gateway.call(state.token);
  $("sent").replaceChildren(
    wire(["GET /api/orders HTTP/1.1", `host: ${location.host}`, ["authorization: Bearer ", signatureText(state.token)]]),
    facts([true, `${count(state.token.length)} characters of credential, and no claim in them.`]),
  );
  if (answer.status === 401) {
    state.token = null;
    throw new gateway.Trouble("The gateway no longer knows this token (401): tokens here live for five minutes. Press the button again and the page gets a new one.");
  }
  if (answer.status !== 200) throw new gateway.Trouble(`The gateway answered ${answer.status}, which was not expected here.`);
  showReceived(JSON.parse(answer.text));
  play("call");
  return `${first}The client sent ${count(state.token.length)} characters; the API received the whole JWT of ${count(state.jwt.length)}.`;
}

function showReceived({ method, path, headers, jwt }) {
  const authorization = "authorization: Bearer ";
  const bearer = headers.find((line) => line.startsWith(authorization))?.slice(authorization.length) ?? "";
  const told = (line) => line.startsWith("authorization: ") || line.startsWith("host: ");
  const shown = headers.filter(told).map((line) => line === authorization + bearer ? [authorization, jwtText(bearer)] : line);
  const others = headers.filter((line) => !told(line));
  const rest = el("details", "", el("summary", "", `${others.length} more header lines`), wire(others));
  $("received").replaceChildren(
    wire([`${method} ${path} HTTP/1.1`, ...shown]),
    rest,
    facts(
      [bearer === state.jwt, "It is the JWT that the provider issued, byte for byte."],
      [jwt?.signature_valid === true, "The API checked the provider’s signature itself."],
      [Boolean(jwt), `The API knows who calls: ${jwt?.claims.name ?? "nobody"} (${jwt?.claims.sub ?? "none"}).`],
    ),
  );
}

async function lookIntoStore() {
  const first = await withToken();
  const said = showRecords($("records"), await gateway.store(), state);
  play("store");
  return first + said;
}

function showCurl({ client_id, client_secret, username, password, provider, api, store }) {
  const at = location.origin;
  // The lines that the demo prints in its terminal, letter for letter.
  const form = `-d grant_type=password -d username=${username} -d password=${password}`;
  const token = String.raw`sed -E 's/.*"access_token" *: *"([^"]*)".*/\1/'`;
  $("curl-1").textContent = `TOKEN=$(curl -s -u ${client_id}:${client_secret} ${form} ${at}/oauth/token | ${token}); echo "$TOKEN"`;
  $("curl-2").textContent = `curl -s -H "Authorization: Bearer $TOKEN" ${at}/api/orders`;
  const where = store === "memory" ? "The store is the memory of that process." : `The store is ${store}, outside it.`;
  $("where").textContent = `One process on your machine: the gateway at ${at}, behind it the provider at ${provider} and the API at ${api}. ${where}`;
}

wireUp($("get"), $("said-1"), getToken);
wireUp($("call"), $("said-2"), callApi);
wireUp($("look"), $("said-3"), lookIntoStore);
cheats($("cheats"), $("cheat-all"), $("said-4"), { wireUp, state, withToken });
gateway.setup().then((setup) => { state.setup = setup; showCurl(setup); }, (trouble) => {
  $("said-1").textContent = trouble.message;
  $("said-1").className = "said trouble";
});
