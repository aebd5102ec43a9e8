--- `asyncio worker` and `asyncio jobs`: what their arguments ask for.
-- @module asyncio.distributed.command
local core = require "asyncio.core"
local crossing = require "asyncio.distributed.crossing"
local keys = require "asyncio.distributed.keys"
local link = require "asyncio.distributed.link"
local redis_errors = require "asyncio.redis.errors"
local runner = require "asyncio.runner"

local WORKER = "worker --url redis://... [--queue default]... [--concurrency 8] [--threads] [--grace 30] "
  .. "module..."
local JOBS = "jobs --url redis://... [--queue default] [list|show ID|retry ID|cancel ID|dead|purge [dead]]"
local LISTED = 100 -- jobs
local CONNECT_TIMEOUT = 10 -- seconds

local SIGTERM, SIGINT = "SIGTERM", "SIGINT"

local function complain(text) io.stderr:write("asyncio: ", text, "\n") end

--- Something to tell the user, and no more.
local Failure = core.Error:subclass "CommandFailure"

--- What has gone wrong, for who gave the command: where in here it was raised is of no use to him when the
-- Redis is away, or doesn't let us in.
local function complain_of(err)
  if core.isinstance(err, Failure) then return complain(err.message) end
  local text = core.words(err)
  if core.isinstance(err, core.OSError) or core.isinstance(err, redis_errors.RedisError) then
    text = text:gsub("\nstack traceback:.*", "")
  end
  complain(text)
end

local function misused(usage, what)
  complain(("%s; usage: asyncio %s"):format(what, usage))
  return 1
end

local function seconds(text)
  local n = tonumber(text)
  return n and n >= 0 and n < math.huge and n or nil
end

local function count(text)
  local n = math.tointeger(tonumber(text))
  return n and n >= 1 and n <= 1000 and n or nil
end

--- What stands behind each option: how it is read, and what it should be. false: nothing
local VALUES = {
  ["--url"] = { "url", tostring, "a URL" }, ["--queue"] = { "queues", tostring, "a name" },
  ["--concurrency"] = { "concurrency", count, "a number from 1 to 1000" },
  ["--grace"] = { "grace", seconds, "seconds" },
  ["--connect-timeout"] = { "connect_timeout", seconds, "seconds" }, ["--threads"] = { "threads", false },
}

--- Sorts arguments into options and words; or nil and a complaint.
local function read(args, known)
  local opts, words, i = { queues = {} }, {}, 1
  while args[i] do
    local word, value = args[i], nil
    if word:match "^%-%-[%w-]+=" then word, value = word:match "^(.-)=(.*)$" end
    local rule = word:sub(1, 1) == "-" and VALUES[word]
    if word:sub(1, 1) ~= "-" then
      words[#words + 1] = word
    elseif not rule or not known:find(word .. " ", 1, true) then
      return nil, ("unrecognized option '%s'"):format(word)
    elseif not rule[2] then
      opts[rule[1]] = true
    else
      if not value then
        i = i + 1
        value = args[i]
      end
      local read_value = value and value ~= "" and rule[2](value)
      if not read_value then return nil, ("'%s' needs %s"):format(word, rule[3]) end
      if rule[1] == "queues" then table.insert(opts.queues, value) else opts[rule[1]] = read_value end
    end
    i = i + 1
  end
  if not opts.url then return nil, "--url is missing" end
  for _, name in ipairs(opts.queues) do
    if name:find "[%c{}%s]" then
      return nil, ("'%s' is no queue's name: it has spaces or braces"):format(name)
    end
  end
  if not opts.queues[1] then opts.queues[1] = "default" end
  local place, why = link.read(opts.url, opts.connect_timeout or CONNECT_TIMEOUT)
  if not place then return nil, "--url: " .. why end
  opts.place = place
  return opts, words
end

-- asyncio worker

local function load_module(name)
  local ok, err = core.catch(require, name)
  if ok then return end
  local text = core.words(err)
  if text:find(("module '%s' not found:"):format(name), 1, true) then
    text = ("module '%s' not found: it is looked for as `require` does, by LUA_PATH, in %s"):format(name,
      package.path)
    local stem = name:match "^[./]*(.-)%.lua$"
    if stem then text = ("%s; its name is '%s', without '.lua'"):format(text, (stem:gsub("/", "."))) end
  end
  error(Failure(text), 0)
end

local function work(opts)
  for _, name in ipairs(opts.modules) do load_module(name) end
  local worker = require "asyncio.distributed.worker".new(opts)
  local loop = core.get_running_loop()
  for _, signal in ipairs { SIGTERM, SIGINT } do
    loop:add_signal_handler(signal, function()
      loop:remove_signal_handler(signal) -- the second ends it at once
      opts.log("%s: no more jobs; those that run have %.14g s", signal, opts.grace or 30)
      worker:stop()
    end)
  end
  worker:run()
end

local function say(format, ...)
  io.stderr:write("asyncio worker: ", select("#", ...) > 0 and format:format(...) or format, "\n")
end

local function worker(...)
  local opts, words = read({ ... }, "--url --queue --concurrency --grace --connect-timeout --threads ")
  if not opts then return misused(WORKER, words) end
  if not words[1] then
    return misused(WORKER, "a module is missing: a worker runs the functions of those it is told")
  end
  opts.modules, opts.log = words, say
  opts.on_ready = function(made)
    say("%s takes jobs of %s at %s, %d at a time, for %s", made.name, table.concat(opts.queues, ", "),
      made.place.to, made.concurrency, table.concat(words, ", "))
  end
  local ok, err = core.catch(runner.run, work, opts)
  if ok then return 0 end
  if core.isinstance(err, core.KeyboardInterrupt) then return 130 end
  complain_of(err)
  return 1
end

-- asyncio jobs

local function printed(value)
  return (tostring(value):gsub("[%c\127]", function(c) return ("\\x%02x"):format(c:byte()) end))
end

local function read_job(bytes)
  local ok, facts, call = pcall(crossing.read_job, bytes)
  return ok and facts or { state = "?", name = "?" }, ok and call or nil
end

local function words_of(bytes, how)
  local ok, value = pcall(how, bytes)
  if not ok then return core.words(value) end
  if how == crossing.read_error then return core.words(value) end
  local parts = {}
  for i = 1, value.n do
    parts[i] = type(value[i]) == "string" and ("%q"):format(value[i]) or core.words(value[i])
  end
  return table.concat(parts, ", ")
end

local function owned_by(owner, ms) return ("on %s, renewed %.1f s ago"):format(owner, ms / 1000) end

--- What there is to say of a job in a list, behind its name.
local function remark(facts, owner, ms)
  if owner ~= "" then return owned_by(owner, ms) end
  if facts.state == "delayed" then return ("in %.1f s"):format(ms / 1000) end
  if facts.result and facts.result ~= "" then
    return words_of(facts.result, crossing.read_error):match "^[^\n]*"
  end
  return ""
end

local function show_line(id, bytes, owner, ms)
  local facts = read_job(bytes)
  local state = owner ~= "" and "running" or facts.state
  local line = ("%-32s %-9s %-6s %s %s"):format(printed(id), printed(state), printed(facts.p or ""),
    printed(facts.name), printed(remark(facts, owner, ms)))
  print((line:gsub(" +$", "")))
end

local function list(ask, what, queue)
  local reply = ask("list", LISTED, what)
  for i = 1, #reply, 4 do show_line(reply[i], reply[i + 1], reply[i + 2], reply[i + 3]) end
  if #reply == 0 then
    local none = what == "dead" and "the dead list of %s is empty" or "nothing waits or runs in %s"
    complain(none:format(queue)) -- not where a program counts lines
  end
  return 0
end

local function arguments_of(call)
  local _, arguments = crossing.read_call(call)
  return arguments
end

local function print_fact(name, value) print(("%-10s %s"):format(name, printed(value))) end

local function no_such_job(id)
  complain("there is no job " .. printed(id))
  return 1
end

local function show(place, id)
  local bytes = place.get("job:" .. id)
  if not bytes then return no_such_job(id) end
  local facts, call = read_job(bytes)
  local owner, ms = place.owner(facts)
  if owner then facts.state = "running " .. owned_by(owner, ms) end
  for _, key in ipairs { "id", "name", "state", "p", "base", "tries", "lost", "key" } do
    if facts[key] ~= nil then print_fact(key == "p" and "priority" or key, facts[key]) end
  end
  if call and call ~= "" then print_fact("arguments", words_of(call, arguments_of)) end
  for _, err in ipairs(facts.errors or {}) do print_fact("earlier", words_of(err, crossing.read_error)) end
  if facts.state == "done" then
    print_fact("results", words_of(facts.result, crossing.read_results))
  elseif facts.result and facts.result ~= "" then
    print_fact("error", words_of(facts.result, crossing.read_error))
  end
  return 0
end

local function purge(ask, what)
  local n = 0
  repeat
    local some = ask("purge", what)
    n = n + some
  until some == 0
  print(("%d job%s thrown away"):format(n, n == 1 and "" or "s"))
  return 0
end

local COMMANDS = {
  list = { 0, 0, function(ask, _, place) return list(ask, "open", place.queue) end },
  dead = { 0, 0, function(ask, _, place) return list(ask, "dead", place.queue) end },
  show = { 1, 1, function(_, id, place) return show(place, id) end },
  retry = { 1, 1, function(ask, id)
    if ask("retry", id) == 1 then return 0 end
    complain(("%s is not on the dead list"):format(printed(id)))
    return 1
  end },
  cancel = { 1, 1, function(ask, id)
    local said = ask("cancel", id, "", "")
    if said == "gone" then return no_such_job(id) end
    print(said)
    return said == "over" and 1 or 0
  end },
  purge = { 0, 1, function(ask, what) return purge(ask, what or "open") end },
}

--- Where the jobs of a queue are looked up that a script says nothing of.
local function place_of(made, queue)
  local base = keys.base(queue)
  local place = { queue = ("queue '%s'"):format(queue) }
  function place.get(key) return made:get():get(base .. key) end
  --- Whose it is, and how many milliseconds ago it was renewed; nil where it doesn't run
  function place.owner(facts)
    if facts.state ~= "queued" or not facts.p or not facts.entry then return nil end
    local client, entry = made:get(), facts.entry
    local ok, pending = core.pcall(client.xpending, client, base .. facts.p, "workers", entry, entry, 1)
    if ok and pending[1] then return pending[1][2], pending[1][3] end
    return nil -- also before the first worker has made the group
  end
  return place
end

local function jobs(...)
  local opts, words = read({ ... }, "--url --queue --connect-timeout ")
  if not opts then return misused(JOBS, words) end
  if #opts.queues > 1 then return misused(JOBS, "one queue at a time") end
  local name = words[1] or "list"
  local rule = COMMANDS[name]
  if not rule then return misused(JOBS, ("'%s' is no command"):format(name)) end
  if #words - 1 < rule[1] and words[1] then
    return misused(JOBS, ("'%s' needs the ID of a job"):format(name))
  end
  if #words - 1 > rule[2] then return misused(JOBS, ("one argument too many: '%s'"):format(words[#words])) end
  if name == "purge" and words[2] and words[2] ~= "dead" then
    return misused(JOBS, ("'purge' or 'purge dead', not '%s'"):format(words[2]))
  end
  local ok, status = core.catch(runner.run, function()
    local made, patience = link.open(opts.place), opts.place.connect_timeout
    local base = keys.base(opts.queues[1])
    local function ask(script, ...) return (made:run(patience, script, base, ...)) end
    local result = rule[3](ask, words[2], place_of(made, opts.queues[1]))
    made:close()
    return result
  end)
  if ok then return status end
  complain_of(status)
  return 1
end

return { worker = worker, jobs = jobs }
