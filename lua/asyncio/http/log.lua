--- The access log of an HTTP server: an entry for each answer.
-- @module asyncio.http.log
local core = require "asyncio.core"

local logs = {}

--- As it stands in a line, whatever a client may have sent.
local function shown(text)
  if text == nil then return "-" end
  return (text:gsub('[%c"\\\127-\255]', function(char) return ("\\x%02x"):format(char:byte()) end))
end

--- A line in the combined format of Apache's and nginx's logs, and behind it how long it took.
local function line_of(entry)
  return ('%s - - [%s] "%s %s HTTP/%s" %d %d "%s" "%s" %.6f\n'):format(
    entry.peer, os.date("!%d/%b/%Y:%H:%M:%S +0000", entry.time), shown(entry.method), shown(entry.target),
    shown(entry.version), entry.status, entry.bytes, shown(entry.referer), shown(entry.user_agent),
    entry.seconds)
end

local function to_stderr(entry) io.stderr:write(line_of(entry)) end

--- What the option `access_log` gives; nil: none.
function logs.sink(option)
  if not option then return nil end
  if option == true then return to_stderr end
  if core.type(option) == "StreamWriter" then
    return function(entry) option:write(line_of(entry)) end
  end
  return option
end

local function peer_of(connection)
  local peer = connection.writer:get_extra_info "peername"
  return peer and peer.host or "unix"
end

--- An answer was sent. A sink that fails has told nobody, and is reported.
function logs.note(connection, request)
  local sink = connection.log
  if not sink then return end
  local headers = request and request.headers
  local ok, err = core.pcall(sink, {
    time = os.time(), seconds = core.time() - (connection.request_at or core.time()),
    peer = peer_of(connection), method = request and request.method, target = request and request.target,
    version = request and request.version or "-", host = request and request.host,
    status = connection.began or 0, bytes = connection.sent or 0,
    referer = headers and headers.referer, user_agent = headers and headers["user-agent"],
  })
  if not ok then
    core.get_running_loop():call_exception_handler { message = "an access log failed", exception = err }
  end
end

return logs
