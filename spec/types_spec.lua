-- The annotations in types/ say what the comments in the sources say: which parameters may be left out, of which kind
-- they and the results are, and how many results there are. (That their names agree is docs_spec's.)
local t = require "helper"

local ROOT = arg[0]:match "^(.*)/spec/[^/]*$" or "."

TestTypes = {}
TestKinds = {}

if not package.searchpath("house", ROOT .. "/tools/?.lua") then -- the rock comes without
  function TestTypes.test_is_in_the_repository() t.skip "tools are not here" end
  t.finish()
end

package.path = ("%s/tools/site/?.lua;%s/tools/?.lua;%s"):format(ROOT, ROOT, package.path)
local house = require "house"
local reference = require "reference"

--- "Queue:get" → its entry, as the manual has it.
local function entries()
  local folder, list = os.tmpname(), {}
  os.remove(folder)
  local command = "mkdir '%s' && cd '%s' && %s tools/manual.lua '%s'"
  assert(os.execute(command:format(folder, ROOT, os.getenv "LUA" or "lua5.4", folder)))
  for _, page in pairs(reference.read(folder)) do
    for _, entry in ipairs(page.functions) do list[entry.name] = entry end
  end
  os.execute(("rm -r '%s'"):format(folder))
  return list
end

--- The annotations of a function: `params` by name, each with `optional` and `type`; `returns`, types in order.
local function read_block(block)
  local annotation = { params = {}, returns = {} }
  for _, line in ipairs(block) do
    local name, mark, kind = line:match "^@param ([%w_.]+)(%??) (.*)$"
    if name then annotation.params[name] = { optional = mark == "?", type = kind } end
    annotation.returns[#annotation.returns + 1] = line:match "^@return (.*)$"
  end
  return annotation
end

--- "Queue:get" → its annotations; alias → what it stands for; class → the one that it is below.
local function annotations()
  local list, aliases, supers = {}, {}, {}
  for _, path in ipairs(house.files(ROOT .. "/types", "*.lua")) do
    local block, last = {}, nil
    for line in io.lines(path) do
      local name = line:match "^function ([%w_.:]+)%("
      if name then list[name:gsub("^asyncio%.", ""):gsub("^inner%.", "coroutine.")] = read_block(block) end
      local class, super = line:match "^%-%-%-@class asyncio%.([%w_.]+) : asyncio%.([%w_.]+)"
      if class then supers[class] = super end
      local alias, meaning = line:match "^%-%-%-@alias ([%w_.]+)(.*)$"
      if alias then
        last = alias
        t.assertNil(aliases[alias], alias .. " stands there twice")
        aliases[alias] = meaning
      end
      local more = line:match "^%-%-%-| (.*)$"
      if more then aliases[last] = aliases[last] .. (aliases[last] == "" and "" or " | ") .. more end
      if line:find "^%-%-%-" then block[#block + 1] = line:sub(4) else block = {} end
    end
  end
  return list, aliases, supers
end

local ENTRIES = entries()
local ANNOTATIONS, ALIASES, SUPERS = annotations()

-- Kinds: what type() says, or a class

local PLAIN = { string = true, number = true, integer = true, boolean = true, table = true, thread = true,
  userdata = true, any = true }
PLAIN["function"], PLAIN["nil"] = true, true

--- One alternative of a type, and what stands after it.
local function alternative(text)
  text = text:match "^%s*(.*)$"
  local word = text:match '^"[^"]*"' or text:match "^%b()" or text:match "^%b{}" or text:match "^async fun%b()"
    or text:match "^fun%b()" or text:match "^table%b<>" or text:match "^[%w_.]+"
  if not word then return nil end
  local rest = text:sub(#word + 1)
  if word:find "fun%(" and rest:find "^:" then return word, "" end -- whatever follows is what it returns
  local list = rest:match "^%[%]"
  if list then rest = rest:sub(3) end
  return list and "{}" or word, rest
end

local kinds_in

--- Adds the kinds of an alternative to `kinds`.
local function add_kind(kinds, word)
  if word:find '^"' then
    kinds.string = true
  elseif word:find "^%(" then
    for kind in pairs(kinds_in(word:sub(2, -2))) do kinds[kind] = true end
  elseif word:find "^{" or word:find "^table" then
    kinds.table = true
  elseif word:find "fun%(" then
    kinds["function"] = true
  elseif ALIASES[word] then
    for kind in pairs(kinds_in(ALIASES[word])) do kinds[kind] = true end
  else
    kinds[PLAIN[word] and word or word:match "[^.]*$"] = true
    if not PLAIN[word] then kinds.table = kinds.table or "a class" end
    local super = SUPERS[word:match "[^.]*$"]
    while super do
      kinds[super], super = true, SUPERS[super]
    end
  end
end

--- The kinds that an annotation begins with; words may follow it.
function kinds_in(text)
  local kinds = {}
  repeat
    local word, rest = alternative(text)
    if not word then break end
    add_kind(kinds, word)
    if rest:find "^%?" then
      kinds["nil"] = true
      rest = rest:sub(2)
    end
    text = rest:match "^ *| *(.*)$"
  until not text
  return kinds
end

--- The kinds that a comment's type has: "?table|Headers".
local function kinds_of(kind)
  local kinds = {}
  if kind:find "^%?" then kinds["nil"] = true end
  for word in kind:gsub("^%?", ""):gsub("%b{}", "table"):gmatch "[^|]+" do kinds[word] = true end
  return kinds
end

--- Whether an annotation has what a comment says.
local function has(annotated, kind)
  if annotated.any or annotated[kind] then return true end
  if kind == "number" or kind == "integer" then return annotated.integer ~= nil or annotated.number ~= nil end
  return false
end

--- What an annotation lacks, of a type in a comment; nil if it has all.
local function lacking(annotated, kind)
  for word in pairs(kinds_of(kind)) do
    if word ~= "nil" and not has(annotated, word) then return word end
  end
end

local function annotation_of(name)
  return ANNOTATIONS[name] or ANNOTATIONS[name:gsub("^Task:", "Future:")] -- inherited
end

local function sorted(list)
  table.sort(list)
  return list
end

function TestTypes:test_parameters_may_be_left_out_where_the_comment_says_so()
  local wrong = {}
  for name, entry in pairs(ENTRIES) do
    for _, param in ipairs(entry.params) do
      local annotated = annotation_of(name).params[param.name]
      local optional = param.optional or (param.type or ""):find "^%?" ~= nil
      local said = annotated and (kinds_in(annotated.type)["nil"] ~= nil or annotated.optional)
      if annotated and param.name ~= "..." and said ~= optional then
        wrong[#wrong + 1] = ("%s: %s is %s"):format(name, param.name, optional and "optional" or "not optional")
      end
    end
  end
  t.assertEquals(sorted(wrong), {})
end

function TestTypes:test_parameters_have_the_kinds_that_the_comment_says()
  local wrong, looked_at = {}, 0
  for name, entry in pairs(ENTRIES) do
    for _, param in ipairs(entry.params) do
      local annotated = annotation_of(name).params[param.name]
      local lacks = param.type and annotated and lacking(kinds_in(annotated.type), param.type)
      if param.type and annotated then looked_at = looked_at + 1 end
      if lacks then
        wrong[#wrong + 1] = ("%s: %s may be a %s, not only %s"):format(name, param.name, lacks, annotated.type)
      end
    end
  end
  t.assertEquals(sorted(wrong), {})
  t.assertTrue(looked_at > 300, looked_at)
end

function TestTypes:test_results_have_the_kinds_that_the_comment_says()
  local wrong = {}
  for name, entry in pairs(ENTRIES) do
    for i, value in ipairs(entry.returns) do
      local annotated = annotation_of(name).returns[i]
      local kinds = annotated and kinds_in(annotated)
      local lacks = value.type and kinds and lacking(kinds, value.type)
      if lacks then wrong[#wrong + 1] = ("%s: result %d is a %s, not %s"):format(name, i, lacks, annotated) end
      if value.type and kinds and value.type:find "^%?" and not (kinds["nil"] or kinds.any) then
        wrong[#wrong + 1] = ("%s: result %d may be nil"):format(name, i)
      end
    end
  end
  t.assertEquals(sorted(wrong), {})
end

--- Whether a comment's results are as many as an annotation's: one without a type stands for any number, an iterator
-- for what a `for` takes.
local function as_many(entry, annotated)
  local last = entry.returns[#entry.returns]
  if last and (not last.type or last.type == "function") then return #annotated.returns >= #entry.returns end
  return #annotated.returns == #entry.returns
end

function TestTypes:test_there_are_as_many_results()
  local wrong = {}
  for name, entry in pairs(ENTRIES) do
    local annotated = annotation_of(name)
    if not as_many(entry, annotated) then
      wrong[#wrong + 1] = ("%s: %d results, %d annotated"):format(name, #entry.returns, #annotated.returns)
    end
  end
  t.assertEquals(sorted(wrong), {})
end

function TestKinds:test_are_read_from_annotations()
  for text, expected in pairs {
    ["string | integer the name"] = "integer string", ["fun(a: string): integer?, any what it does"] = "function",
    ['"a" | "b"?'] = "nil string", ["asyncio.Task[]"] = "table", ["(string | { x: integer })[] | nil"] = "nil table",
    ["table<string, string|string[]> fields"] = "table", ["asyncio.Queue? nil at the end"] = "Queue nil table",
    ["asyncio.Task"] = "Future Task table",
    ["async fun(...): any ... | boolean"] = "function",
    ["fun() | boolean"] = "boolean function", ["any ... its results"] = "any",
  } do
    t.assertEquals(table.concat(house.sorted_keys(kinds_in(text)), " "), expected, text)
  end
end

function TestKinds:test_are_read_from_comments()
  t.assertEquals(house.sorted_keys(kinds_of "?table|Headers"), { "Headers", "nil", "table" })
  t.assertEquals(house.sorted_keys(kinds_of "{string,...}"), { "table" })
end

t.leave_out(TestTypes, ".") -- nothing of ours runs in it
t.finish()
