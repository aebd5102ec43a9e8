-- browser.lua - a browser without a window, driven through the pipe of its DevTools protocol: for what is shown there.
--     local browser = require "browser"
--     browser.drive(function(tab) tab:open(path); print(tab:ask "document.title") end)
-- It is started once for all tests of a file, and ends with it.
local t = require "helper"
local json = require "json"
local asyncio = t.asyncio

local browser = {}
local Tab = {}
Tab.__index = Tab

local PROGRAMS = { "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome" }

-- stdin and stdout become the descriptors 3 and 4 that it listens and answers on.
local COMMAND = [[folder=$(mktemp -d) && trap 'rm -rf "$folder"' EXIT && timeout -k 2 %d %s --headless --no-sandbox \
  --disable-gpu --disable-dev-shm-usage --hide-scrollbars --force-device-scale-factor=1 --no-first-run \
  --user-data-dir="$folder" --remote-debugging-pipe about:blank 3<&0 4>&1 >/dev/null 2>&1 </dev/null]]

--- The program's name, or nil.
function browser.program()
  for _, name in ipairs(PROGRAMS) do
    if os.execute(("command -v %s >/dev/null 2>&1"):format(name)) then return name end
  end
end

--- Sends a command, and waits for its answer; what comes meanwhile without being asked for is kept.
function Tab:call(method, params)
  self.number = self.number + 1
  local message = { id = self.number, method = method, params = params and next(params) and params }
  if self.session and not method:find "^Target" then message.sessionId = self.session end
  self.process.stdin:write(json.encode(message) .. "\0")
  self.process.stdin:drain()
  while true do
    local answer = self:receive()
    if answer.id == message.id then
      return answer.result or error(("%s: %s"):format(method, answer.error.message), 2)
    end
  end
end

function Tab:receive()
  local message = json.decode((self.process.stdout:readuntil("\0"):gsub("%z$", "")))
  if message.method then self:note(message.method, message.params) end
  return message
end

--- Errors that scripts didn't catch, and what the console shows as an error or a warning.
function Tab:note(method, params)
  local problem
  if method == "Runtime.exceptionThrown" then
    local details = params.exceptionDetails
    problem = details.exception and details.exception.description or details.text
  elseif method == "Runtime.consoleAPICalled" and (params.type == "error" or params.type == "warning") then
    problem = json.encode(params.args)
  elseif method == "Log.entryAdded" and (params.entry.level == "error" or params.entry.level == "warning") then
    problem = params.entry.text
  elseif method == "Page.loadEventFired" then
    self.loaded = true
  end
  if problem then self.problems[#self.problems + 1] = problem end
end

--- Opens a file, and waits until it has drawn itself. opts: width, height, dark, touch; undrawn: that isn't waited for.
function Tab:open(path, opts)
  opts = opts or {}
  self:call("Emulation.setDeviceMetricsOverride", { width = opts.width or 1280, height = opts.height or 800,
    deviceScaleFactor = opts.scale or 1, mobile = opts.touch or false })
  self:call("Emulation.setTouchEmulationEnabled", { enabled = opts.touch or false })
  self:call("Emulation.setEmulatedMedia", { features = { { name = "prefers-color-scheme",
    value = opts.dark and "dark" or "light" } } })
  self.loaded, self.problems = false, {}
  self:call("Page.navigate", { url = "file://" .. path })
  while not self.loaded do self:receive() end
  if not opts.undrawn then self:rest() end
end

--- The value of an expression, waited for if it is a promise.
function Tab:ask(expression)
  local answer = self:call("Runtime.evaluate", { expression = expression, returnByValue = true, awaitPromise = true })
  if answer.exceptionDetails then
    error(answer.exceptionDetails.exception.description or json.encode(answer.exceptionDetails), 2)
  end
  return answer.result.value
end

--- Waits until what is due has been drawn.
function Tab:rest()
  self:ask "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))"
end

function Tab:mouse(type, x, y, more)
  local params = { type = type, x = x, y = y }
  for name, value in pairs(more or {}) do params[name] = value end
  self:call("Input.dispatchMouseEvent", params)
end

function Tab:click(x, y, count)
  for i = 1, count or 1 do
    self:mouse("mousePressed", x, y, { button = "left", buttons = 1, clickCount = i })
    self:mouse("mouseReleased", x, y, { button = "left", clickCount = i })
  end
  self:rest()
end

function Tab:wheel(x, y, pixels, modifiers)
  self:mouse("mouseWheel", x, y, { deltaX = 0, deltaY = pixels, modifiers = modifiers or 0 })
  self:rest()
end

--- A movement of fingers: each step is a list of their places; the last one is followed by their lifting.
function Tab:touch(steps)
  for i, step in ipairs(steps) do
    local points = {}
    for id, place in ipairs(step) do points[id] = { x = place[1], y = place[2], id = id } end
    self:call("Input.dispatchTouchEvent", { type = i == 1 and "touchStart" or "touchMove", touchPoints = points })
  end
  self:call("Input.dispatchTouchEvent", { type = "touchEnd", touchPoints = {} })
  self:rest()
end

--- Presses a key by its name, as in `event.key`.
function Tab:key(key)
  self:call("Input.dispatchKeyEvent", { type = "keyDown", key = key, text = #key == 1 and key or nil })
  self:call("Input.dispatchKeyEvent", { type = "keyUp", key = key })
  self:rest()
end

function Tab:type(text)
  self:call("Input.insertText", { text = text })
  self:rest()
end

--- What it shows, as a PNG in base64.
function Tab:picture() return self:call("Page.captureScreenshot", { format = "png" }).data end

local runner, tab

local function begin()
  local shell = COMMAND:format(600, browser.program())
  local process = asyncio.create_subprocess_exec("sh", "-c", shell,
    { stdin = "pipe", stdout = "pipe", limit = 1 << 26 })
  tab = setmetatable({ process = process, number = 0, problems = {} }, Tab)
  local target = tab:call("Target.createTarget", { url = "about:blank" }).targetId
  tab.session = tab:call("Target.attachToTarget", { targetId = target, flatten = true }).sessionId
  for _, domain in ipairs { "Page", "Runtime", "Log" } do tab:call(domain .. ".enable") end
end

--- Runs fn(tab) in a task; the browser, which stays open, begins with the first call.
function browser.drive(fn)
  runner = runner or asyncio.Runner()
  return runner:run(function()
    local _ <close> = asyncio.timeout(t.slow and 600 or 60)
    if not tab then begin() end
    fn(tab)
  end)
end

--- Ends it; its commands' pipe is what it lives of.
function browser.close()
  if not runner then return end
  if tab then
    runner:run(function()
      tab.process.stdin:close()
      tab.process:wait()
    end)
  end
  runner:close()
  runner, tab = nil, nil
end

return browser
