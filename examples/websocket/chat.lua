-- chat.lua [PORT] - a chat with a page: open http://127.0.0.1:8080/ in two windows.
-- Each member has a queue of lines; who reads too slowly loses the oldest, and holds up nobody.
local asyncio = require "asyncio"
local http = asyncio.http

local MOST = 50 -- lines that wait for a member

local PAGE = [[
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Chat</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 1em auto; max-width: 40em; padding: 0 1em; }
  input { font: inherit; width: 100%; box-sizing: border-box; }
  :root { color-scheme: light dark; }
</style>
<h1>Chat</h1>
<ol id="lines"></ol>
<form><input id="line" autofocus placeholder="Say something" aria-label="Say something"></form>
<p id="state">connecting</p>
<script>
  const socket = new WebSocket("ws://" + location.host + "/chat"), state = document.getElementById("state");
  socket.onopen = () => state.textContent = "connected";
  socket.onclose = event => state.textContent = "closed (" + event.code + ")";
  socket.onmessage = event => {
    const item = document.createElement("li");
    item.textContent = event.data;
    document.getElementById("lines").append(item);
  };
  document.forms[0].onsubmit = event => {
    const line = document.getElementById("line");
    if (line.value) socket.send(line.value);
    line.value = "";
    event.preventDefault();
  };
</script>
]]

local members, count = {}, 0 -- queue of lines → the member's name

local function tell_all(line)
  for queue in pairs(members) do
    if queue:full() then queue:get_nowait() end
    queue:put_nowait(line)
  end
end

local function send_lines(queue, ws)
  for _, line in queue:iter() do ws:send(line) end
end

local function chat(request)
  local ws = request:websocket()
  local queue = asyncio.Queue(MOST)
  count = count + 1
  local name = "guest " .. count
  members[queue] = name
  local _ <close> = asyncio.defer(function()
    members[queue] = nil
    tell_all(name .. " has left")
  end)
  local sender <close> = asyncio.create_task(asyncio.pcall, send_lines, queue, ws)
  tell_all(name .. " has come")
  for text in ws:iter() do tell_all(name .. ": " .. text) end
  sender:cancel()
end

local function handler(request)
  if request.path == "/chat" then return chat(request) end
  if request.path ~= "/" then http.abort(404) end
  return { body = PAGE, headers = { ["Content-Type"] = "text/html; charset=utf-8" } }
end

asyncio.run(function(port)
  local server <close> = http.serve(handler, "127.0.0.1", port, { stop_grace = 5 })
  print(("http://127.0.0.1:%d/"):format(server:sockets()[1].port))
  server:serve_forever()
end, tonumber(arg[1] or 8080))
