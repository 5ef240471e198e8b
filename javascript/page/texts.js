/** The texts of the service's page, and those that are other words where there is no service. What follows "LOCAL =" is JSON. */

import { TEXTS as OF_SERVICE } from "./service_texts.js";

const LOCAL = {
  "en": {
    "title": "Compare two clips in this browser",
    "privacy": "Nothing leaves this browser: clips are heard and compared here, and whoever you enrol is kept here. Loading the model is all that is asked of the network.",
    "load_first": "The first clip loads the model and what runs it, 29 MB, once.",
    "loading": "Loading: {loaded} of {total} MB",
    "starting": "Starting the model…",
    "no_preview": "This browser cannot show or play this file.",
    "enrol_advice": "Only with their consent. 2 seconds of speech or more in each clip; several from different days are best. What is kept are voiceprints, in this browser, and no audio.",
    "refused_not_audio": "It is not audio, or of a kind that this browser cannot decode.",
    "refused_foreign_format": "This browser cannot decode this kind of file: convert it to wav or flac.",
    "error_worker": "What compares could not be started. This page wants to come from a web server, and a browser of the last years.",
    "error_model": "The model could not be loaded: {message}",
    "error_page": "This page made a mistake; its console says more. Reload it."
  },
  "zh": {
    "title": "在浏览器里比对两段录音",
    "privacy": "任何内容都不离开本浏览器：录音在这里听取和比对，注册的人也只保存在这里。只有加载模型时会用到网络。",
    "load_first": "放入第一段录音时加载模型及其运行环境，共 29 MB，只需一次。",
    "loading": "正在加载：{loaded} / {total} MB",
    "starting": "正在启动模型…",
    "no_preview": "本浏览器无法显示或播放此文件。",
    "enrol_advice": "须征得本人同意。每段至少 2 秒语音；最好有不同日子的多段录音。只在本浏览器里保存声纹，不保存音频。",
    "refused_not_audio": "不是音频，或本浏览器无法解码其格式。",
    "refused_foreign_format": "本浏览器无法解码这种文件：请转换为 wav 或 flac。",
    "error_worker": "无法启动比对程序。本页需要由网页服务器提供，并使用近几年的浏览器。",
    "error_model": "无法加载模型：{message}",
    "error_page": "本页出错，详情见控制台。请重新加载。"
  }
};

export const TEXTS = { en: { ...OF_SERVICE.en, ...LOCAL.en }, zh: { ...OF_SERVICE.zh, ...LOCAL.zh } };
