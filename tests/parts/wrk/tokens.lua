-- GET with one of the tokens in the file that TOKENS names, at random. Prints figures as one line of JSON.
local requests = {}

function init()
  for token in io.lines(os.getenv("TOKENS")) do
    requests[#requests + 1] = wrk.format("GET", nil, { ["Authorization"] = "Bearer " .. token })
  end
  math.randomseed(42)
end

function request()
  return requests[math.random(#requests)]
end

function done(summary, latency)
  local errors = summary.errors
  local failures = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  print(string.format('{"requests": %d, "failures": %d, "took": %d, "p50": %d, "p99": %d}',
    summary.requests, failures, summary.duration, latency:percentile(50), latency:percentile(99)))
end
