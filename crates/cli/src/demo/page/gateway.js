// Talks to the gateway: the page knows no other address. Nothing here touches the document.

// A sentence for a person, in place of a result.
export class Trouble extends Error {}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "omit", cache: "no-store", redirect: "error", ...options });
  } catch {
    throw new Trouble("The gateway does not answer. Is the demo still running in its terminal?");
  }
  if (response.status === 503) {
    const wait = response.headers.get("retry-after");
    throw new Trouble(`The gateway is up, but cannot reach its store or the provider right now (503).${
      wait ? ` It asks to try again in ${wait} s.` : " Try again in a moment."}`);
  }
  const text = await response.text().catch(() => {
    throw new Trouble("The answer of the gateway broke off. Please try again.");
  });
  return { status: response.status, headers: response.headers, text };
}

async function json(path, options) {
  const answer = await ask(path, options);
  if (answer.status !== 200) {
    throw new Trouble(`The gateway answered ${answer.status}${reason(answer)}. That was not expected here.`);
  }
  try {
    return { ...answer, body: JSON.parse(answer.text) };
  } catch {
    throw new Trouble("The gateway's answer is not JSON. Is something else listening on this address?");
  }
}

function reason(answer) {
  const challenge = answer.headers.get("www-authenticate") ?? answer.text;
  const code = /error"?[=:]\s*"([a-z_]+)"/.exec(challenge);
  return code ? ` ${code[1]}` : "";
}

// Who may ask here, and what runs where.
export const setup = async () => (await json("/demo/setup")).body;

// The JWT that the provider issued last, or null.
export const issued = async () => (await json("/demo/issued")).body.jwt;

// The store's records, or null where the store is not in the demo's process.
export const store = async () => (await json("/demo/store")).body.entries;

// Asks for a token with the demo's own client.
export function token(grant, { client_id, client_secret, username, password }) {
  const form = new URLSearchParams({ grant_type: grant, client_id, client_secret });
  if (grant === "password") {
    form.set("username", username);
    form.set("password", password);
  }
  return json("/oauth/token", { method: "POST", body: form });
}

// Calls the API; any status is an answer.
export function call(bearer, query = "") {
  const headers = bearer ? { authorization: `Bearer ${bearer}` } : {};
  return ask(`/api/orders${query}`, { headers });
}
