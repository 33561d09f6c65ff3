// Translations of the page, and a sample chat in each language.

const MESSAGES = {
  en: {
    skip: "Skip to content", one: "One dialogue", many: "Batches", interface: "Interface language", transcript: "Transcript",
    sample: "Try a sample", open: "Open a file", read: "Read", dialogue: "Dialogue", back: "New dialogue",
    paste: "Paste a transcript or drop a file: “Speaker: text” lines, VTT, SRT, WhatsApp, Zoom, JSON, CSV …",
    preset: "Sections", model: "Model", against: "Compare with", roles: "Summarize for", options: "Options",
    length: "Maximum tokens", instructions: "Language of the instructions", asdialogue: "the dialogue's language",
    inputoptions: "Input options", formatname: "Format", anyformat: "detect", unnamed: "Turns without a speaker",
    columns: "Table columns", redact: "Mask numbers and names before the model reads them", go: "Summarize", stop: "Stop",
    shortcut: "Ctrl + Enter", copyall: "Copy all", copy: "Copy", copied: "Copied", noone: "no role",
    byroles: "By roles", noother: "none", format: "format: {format}", of: "{n} of {total} shown",
    seconds: "{value} s", truncated: "truncated at the maximum of tokens", evidence: "These turns have most of its words.", manytitle: "New batch",
    verify: "Doubtful statements", verify_quote: "quote the dialogue instead", verify_flag: "mark them", verify_drop: "leave them out", verify_off: "do not look for them",
    verify_rerank: "take the best supported of 4 texts", cannotverify: "{models} cannot tell which are doubtful",
    doubtful: "Doubtful statements: {n} of {total}", nodoubt: "Doubtful statements: none of {total}", unverified: "not verified: {n}",
    isdoubtful: "doubtful", unknown: "not verified", supportis: "support {value}%", doubtfulcolumn: "doubtful statements",
    whydoubtful: "Marked, because the model is not sure enough that the dialogue says this.",
    whysupported: "The model finds that the dialogue says this.", whyunknown: "It could not be verified whether the dialogue says this.",
    support: "Support {value}%: how likely it is, by the model's estimate, that the dialogue says this. Under {threshold}% it is doubtful.",
    nearest: "Check it in the nearest turns:", noturn: "No turn has most of its words.", turn: "turn {n}", checks: "Checks without a model: {notes}",
    quotedfor: "Statements replaced by quotes: {n}", whyquoted: "Said in the dialogue, word for word. It stands for what the model wrote and was not sure of.",
    dropped: "Left out, as the dialogue may not say it:", along: "left out with its sentence", maynotsay: "The dialogue may not say:",
    manynote: "JSON lines, CSV or any other file of dialogues. They are summarized in the background; the results stay until you delete them.",
    openmany: "Choose a file", more: "More", keytitle: "This server needs an API key", keyuse: "Continue",
    waiting: "waiting", running: "running", done: "done", canceled: "canceled", failed: "{n} failed", cancel: "Cancel",
    remove: "Delete", show: "Show", id: "dialogue", flagscolumn: "flags", coverage: "{read} of {turns} turns read",
    sure: "Delete this batch and its summaries?", lost: "The connection was lost.", again: "Try again.",
    norole: "Choose a role to summarize for.", stopped: "stopped", keywrong: "This API key is wrong. ",
    overall: "overall", user: "user", agent: "agent", turnedit: "Text of turn {n}", roleof: "Role of {speaker}",
    needtext: "Paste or open a transcript first.", start: "Start", nofile: "No file chosen yet.",
    chosenfile: "{name}, {size}", batchof: "Batch of {when}", encodingname: "Encoding",
    "clinical-visit": "Visit to a doctor", "customer-service": "Customer service", "meeting-recap": "Meeting",
    "situation-action-resolution": "Situation, action, resolution",
    err_speakers: "choose the role of {speaker} above the dialogue ({role})", err_format: "choose the format under “{options}”",
    err_option: "“{field}” under “{options}”", err_tab: "the tab “{tab}”", err_line: "{where}, line {n}", err_turn: "turn {n}",
    part: "part {part} of {parts} read",
    err_roles: "choose “{role}” only",
  },
  zh: {
    skip: "跳到正文", one: "单个对话", many: "批量", interface: "界面语言", transcript: "对话原文",
    sample: "试用示例", open: "打开文件", read: "读取", dialogue: "对话", back: "换一个",
    paste: "粘贴对话或拖入文件：“说话人：内容”、VTT、SRT、WhatsApp、Zoom、JSON、CSV……",
    preset: "栏目", model: "模型", against: "对照", roles: "为谁写摘要", options: "选项",
    length: "最长词元数", instructions: "指令语言", asdialogue: "与对话相同",
    inputoptions: "读取方式", formatname: "格式", anyformat: "自动识别", unnamed: "未注明说话人的内容",
    columns: "表格列名", redact: "先遮盖号码和姓名再交给模型", go: "生成摘要", stop: "停止",
    shortcut: "Ctrl + Enter", copyall: "全部复制", copy: "复制", copied: "已复制", noone: "无",
    byroles: "按角色", noother: "无", format: "识别为 {format}", of: "显示 {n} / {total}",
    seconds: "{value} 秒", truncated: "因长度上限截断", evidence: "以下几轮含有它的大部分词语。", manytitle: "批量对话",
    verify: "存疑的陈述", verify_quote: "改为引用原话", verify_flag: "标出", verify_drop: "删去", verify_off: "不检查",
    verify_rerank: "在 4 份中取依据最足的一份", cannotverify: "{models} 无法判断哪些陈述存疑",
    doubtful: "存疑的陈述：{total} 条中有 {n} 条", nodoubt: "存疑的陈述：{total} 条中没有", unverified: "未核对：{n} 条",
    isdoubtful: "存疑", unknown: "未核对", supportis: "支持度 {value}%", doubtfulcolumn: "存疑的陈述",
    whydoubtful: "已标出，因为模型没有足够把握认为对话里说过这一点。",
    whysupported: "模型认为对话里说过这一点。", whyunknown: "未能核对对话里是否说过这一点。",
    support: "支持度 {value}%：模型估计对话里说过这一点的可能性；低于 {threshold}% 视为存疑。",
    nearest: "请对照最接近的几轮：", noturn: "没有一轮含有它的大部分词语。", turn: "第 {n} 轮", checks: "无模型检查：{notes}",
    quotedfor: "改为引用的陈述：{n} 条", whyquoted: "对话原话，代替模型写了但没有把握的内容。",
    dropped: "已删去，对话里可能没有说过：", along: "随整句删去", maynotsay: "对话里可能没有说过：",
    manynote: "JSON lines、CSV 或其他对话文件。在后台生成摘要，保留到您删除为止。",
    openmany: "选择文件", more: "更多", keytitle: "此服务需要 API 密钥", keyuse: "使用",
    waiting: "等待", running: "进行中", done: "完成", canceled: "已取消", failed: "{n} 个失败", cancel: "取消",
    remove: "删除", show: "查看", id: "对话", flagscolumn: "提示", coverage: "已读 {turns} 轮中的 {read} 轮",
    sure: "删除这一批及其摘要？", lost: "连接中断。", again: "请重试。",
    norole: "请选择为谁写摘要。", stopped: "已停止", keywrong: "此密钥无效。",
    overall: "整体", user: "用户", agent: "客服", turnedit: "第 {n} 轮内容", roleof: "{speaker} 的角色",
    needtext: "请先粘贴或打开一段对话。", start: "开始", nofile: "尚未选择文件。",
    chosenfile: "{name}，{size}", batchof: "{when} 的批次", encodingname: "编码",
    "clinical-visit": "就诊", "customer-service": "客户服务", "meeting-recap": "会议",
    "situation-action-resolution": "情况、处理、结果",
    err_speakers: "在对话上方为 {speaker} 选择角色（{role}）", err_format: "在“{options}”中选择格式",
    err_option: "“{options}”中的“{field}”", err_tab: "“{tab}”标签页", err_line: "{where}第 {n} 行", err_turn: "第 {n} 轮",
    part: "已读第 {part} 部分，共 {parts} 部分",
    err_roles: "只选“{role}”",
  },
};

export const SAMPLES = {
  en: `Customer: Hi, my order 4417 was due on Monday and it's still not here.
Agent: I'm sorry about that. Let me look it up.
Agent: It left our depot yesterday and is with the courier now.
Customer: I need it before Friday, it's a birthday present.
Agent: The courier says Thursday before noon. I've marked it as urgent.
Customer: And if it doesn't come?
Agent: Then call us and we refund the £6 delivery fee and send a new one by express.
Customer: OK, thanks.`,
  zh: `用户：你好，我的订单显示周一送到，现在还没收到
客服：非常抱歉，我帮您查询一下
客服：包裹昨天已经出库，现在在配送员手上
用户：周五之前一定要到，是生日礼物
客服：配送员说周四中午前送到，我已经备注加急
用户：要是没到呢
客服：那您联系我们，退您6元运费，并用特快重新发一件
用户：好的，谢谢`,
};

let locale = localStorage.getItem("rolesum.locale") || (navigator.language.startsWith("zh") ? "zh" : "en");

export const currentLocale = () => locale;

export function t(name, values = {}) {
  const text = MESSAGES[locale][name] ?? MESSAGES.en[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key]);
}

// The name of a preset of sections. One without a translation is shown by its id, with spaces for hyphens.
export const presetName = (id) => (id in MESSAGES.en ? t(id) : id.replaceAll("-", " ").replace(/^./, (one) => one.toUpperCase()));

export const roleName = (role) => (["overall", "user", "agent"].includes(role) ? t(role) : role);

export function setLocale(chosen = locale) {
  locale = chosen;
  localStorage.setItem("rolesum.locale", locale);
  document.documentElement.lang = locale;
  for (const one of document.querySelectorAll("[data-i18n]")) one.textContent = t(one.dataset.i18n);
  for (const one of document.querySelectorAll("[data-placeholder]")) {
    one.placeholder = t(one.dataset.placeholder);
    one.setAttribute("aria-label", t("transcript"));
  }
}
