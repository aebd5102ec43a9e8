--- colour.lua - code as HTML: keywords, strings, numbers and comments coloured, public names linked.
local html = require "html"

local colour = {}

local WORDS = {
  lua = "and break do else elseif end false for function goto if in local nil not or repeat return then true until "
    .. "while",
  python = "and as assert async await break class continue def del elif else except False finally for from global if "
    .. "import in is lambda None nonlocal not or pass raise return True try while with yield",
  c = "bool break case char const continue default do else enum extern false for if int long NULL return size_t sizeof "
    .. "static struct switch true typedef union unsigned void while",
  sh = "case do done elif else esac fi for if in then while",
}

local KEYWORDS = {}
for language, words in pairs(WORDS) do
  KEYWORDS[language] = {}
  for word in words:gmatch "%S+" do KEYWORDS[language][word] = true end
end

-- What each language has beside words and numbers: patterns at a place, and the class of what they find.
local TOKENS = {
  lua = {
    { "^%-%-%[(=*)%[.-%]%1%]", "c" }, { "^%-%-[^\n]*", "c" }, { "^%[(=*)%[.-%]%1%]", "s" },
    { '^"[^"\\\n]*"', "s" }, { "^'[^'\\\n]*'", "s" }, { '^"', "s", '"' }, { "^'", "s", "'" },
  },
  python = { { "^#[^\n]*", "c" }, { '^""".-"""', "s" }, { '^"', "s", '"' }, { "^'", "s", "'" } },
  c = { { "^/%*.-%*/", "c" }, { "^//[^\n]*", "c" }, { "^#%l+", "k" }, { '^"', "s", '"' }, { "^'", "s", "'" } },
  sh = { { "^#[^\n]*", "c" }, { "^'[^'\n]*'", "s" }, { '^"', "s", '"' } },
}

--- Where a string that begins at `at` ends; escapes don't end it, nor does it leave its line.
local function string_end(text, at, quote)
  local i = at + 1
  while i <= #text do
    local char = text:sub(i, i)
    if char == quote then return i end
    if char == "\n" then return i - 1 end
    i = i + (char == "\\" and 2 or 1)
  end
  return #text
end

local function token_at(text, at, language)
  if language == "sh" and text:sub(at, at) == "#" and at > 1 and text:find("^%S", at - 1) then return nil end
  for _, token in ipairs(TOKENS[language]) do
    local from, to = text:find(token[1], at)
    if from then return token[3] and string_end(text, at, token[3]) or to, token[2] end
  end
  local _, to = text:find("^%d[%w.]*", at)
  if to and language ~= "sh" and not text:find("^[%w_]", at - 1) then return to, "n" end
end

local function marked(class, text)
  local lines = {}
  for line, newline in text:gmatch "([^\n]*)(\n?)" do
    if line ~= "" then lines[#lines + 1] = ("<i class=%s>%s</i>"):format(class, html.escape(line)) end
    lines[#lines + 1] = newline
  end
  return table.concat(lines)
end

--- `href_of` tells where a dotted name leads, or nil.
local function coloured(text, language, href_of)
  local pieces, at = {}, 1
  while at <= #text do
    local to, class = token_at(text, at, language)
    if to then
      pieces[#pieces + 1] = marked(class, text:sub(at, to))
      at = to + 1
    else
      local word = text:match("^[%a_][%w_]*", at)
      local name = language == "lua" and text:match("^asyncio%.[%w_.]*[%w_]", at)
      local href = name and href_of(name)
      if href then
        pieces[#pieces + 1] = html.link(href, name)
        at = at + #name
      elseif word then
        pieces[#pieces + 1] = KEYWORDS[language][word] and marked("k", word) or word
        at = at + #word
      else
        local char = text:match("^[ \t\n]+", at) or text:sub(at, at)
        pieces[#pieces + 1] = html.escape(char)
        at = at + #char
      end
    end
  end
  return table.concat(pieces)
end

local LONG = 42 -- characters that a line has room for on a phone; longer ones hang, so that one sees what they are

--- Code as a block.
function colour.block(text, language, href_of)
  text = text:gsub("%s+$", "")
  local body = TOKENS[language] and coloured(text, language, href_of or function() end) or html.escape(text)
  local lines = {}
  for line in (body .. "\n"):gmatch "(.-)\n" do
    lines[#lines + 1] = utf8.len(html.plain(line)) > LONG and ("<b>%s\n</b>"):format(line) or line .. "\n"
  end
  return "<pre><code>" .. table.concat(lines) .. "</code></pre>\n"
end

return colour
