// Answers every request with the paths that Node's URL parser and its path modules make of its target.
import http from 'node:http';
import path from 'node:path';

const decoded = (text) => {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
};

const readings = (target) => {
  const raw = target.split('?')[0];
  const found = [path.posix.normalize(decoded(raw)), path.win32.normalize(decoded(raw)).replaceAll('\\', '/')];
  if (URL.canParse(target, 'http://host.example')) {
    const { pathname } = new URL(target, 'http://host.example');
    found.push(pathname, path.posix.normalize(decoded(pathname)));
  }
  return found;
};

const server = http.createServer((request, response) => response.end(JSON.stringify(readings(request.url))));
server.listen(0, '127.0.0.1', () => console.log(`listening on 127.0.0.1:${server.address().port}`));
