// Makes pieces of the document. All text goes in as text, never as markup.

export const $ = (id) => document.getElementById(id);

// An element with a class and children; strings become text nodes.
export function el(name, className, ...children) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

export const count = (number) => number.toLocaleString("en");

// The three parts of a compact JWS and what the first two say.
export function parts(jwt) {
  const [header, claims, signature] = jwt.split(".");
  return { header, claims, signature, read: { header: decode(header), claims: decode(claims) } };
}

function decode(part) {
  const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  return JSON.parse(new TextDecoder().decode(bytes));
}

// A whole JWT in its three colours, in one piece.
export function jwtText(jwt) {
  const [header, claims, signature] = jwt.split(".");
  const dot = () => el("span", "dot", ".");
  return el("span", "token", el("span", "h", header), dot(), el("span", "c", claims), dot(), el("span", "s", signature));
}

export const signatureText = (text) => el("span", "token", el("span", "s", text));

// The JWT as a ticket: header and claims in plain text, then the tear line, then the signature.
export function ticket(jwt) {
  const { header, claims, signature, read } = parts(jwt);
  const part = (kind, title, text, said) =>
    el("div", `part ${kind}`, el("h4", "", title), el("div", "token", text), ...(said ? [jsonText(said)] : []));
  return [
    part("h", "header", `${header}.`, read.header),
    part("c", "claims", `${claims}.`, read.claims),
    part("s", "signature", signature),
  ];
}

function jsonText(object) {
  const pre = el("pre", "", "{\n");
  const entries = Object.entries(object);
  entries.forEach(([name, value], index) => {
    const text = Array.isArray(value) ? JSON.stringify(value).replaceAll('","', '", "') : JSON.stringify(value);
    pre.append(`  "${name}": ${text}${index + 1 < entries.length ? "," : ""}`);
    if (["iat", "exp", "nbf"].includes(name)) {
      pre.append(el("span", "note", `  // ${new Date(value * 1000).toLocaleTimeString("en-GB")}`));
    }
    pre.append("\n");
  });
  pre.append("}");
  return pre;
}

// What holds and what does not: [true or false, sentence] each.
export function facts(...list) {
  return el("ul", "facts", ...list.map(([holds, text]) => el("li", holds ? "" : "no", text)));
}

// Lines of an HTTP message; a line is a string or a list of strings and elements.
export function wire(lines) {
  const pre = el("pre", "wire");
  lines.forEach((line, index) => pre.append(...(index ? ["\n"] : []), ...[line].flat()));
  return pre;
}
