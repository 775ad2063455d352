"""The official openai client against `vexact serve`.

usage: PYTHONPATH=$(scripts/install_test_clients) python3 -m unittest discover -s tests/server -p 'openai*_test.py'
Tests of text need SmolLM2 and skip without it.
"""

import asyncio
import json
import subprocess
import unittest

import openai

import serving
from serving import KEY, PROGRAM, TINY


class Server(serving.Server):
    def client(self, key=KEY, **options):
        return openai.OpenAI(base_url=self.url, api_key=key, max_retries=0, **options)

    def async_client(self):
        return openai.AsyncOpenAI(base_url=self.url, api_key=KEY, max_retries=0)


def prompts(count):
    return [[3 + (7 * k + 31 * i) % 250 for k in range(2 + 5 * i % 40)] for i in range(count)]


def ask(client, prompt, **more):
    return client.completions.create(model="tiny-llama", prompt=prompt, max_tokens=6, seed=11,
                                     logprobs=1, extra_body={"return_token_ids": True}, **more)


def words(completion):
    """What has to be equal: ids and log-probabilities."""
    return [(c.token_ids, c.logprobs.token_logprobs, c.logprobs.top_logprobs)
            for c in completion.choices]


class TinyModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(TINY)
        cls.client = cls.server.client()

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.stop() == 0

    def test_lists_its_model(self):
        self.assertEqual([model.id for model in self.client.models.list()], ["tiny-llama"])
        self.assertEqual(self.client.models.retrieve("tiny-llama").id, "tiny-llama")

    def test_a_seed_repeats_an_answer(self):
        first = ask(self.client, [5, 6, 7], n=2)
        self.assertEqual(len(first.choices), 2)
        self.assertEqual(first.usage.completion_tokens,
                         sum(len(choice.token_ids) for choice in first.choices))
        self.assertEqual(words(first), words(ask(self.client, [5, 6, 7], n=2)))

    def test_a_stream_is_the_whole_answer(self):
        whole = words(ask(self.client, [5, 6, 7]))[0]
        ids, values, tops, usage = [], [], [], None
        for chunk in ask(self.client, [5, 6, 7], stream=True,
                         stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                ids += choice.token_ids
                values += choice.logprobs.token_logprobs
                tops += choice.logprobs.top_logprobs
        self.assertEqual((ids, values, tops), whole)
        self.assertEqual(usage.completion_tokens, len(ids))

    def test_asynchronous_clients_at_once_get_the_answers_of_one(self):
        expected = [words(ask(self.client, prompt)) for prompt in prompts(24)]

        async def at_once():
            async with self.server.async_client() as client:
                return await asyncio.gather(*[ask(client, prompt) for prompt in prompts(24)])

        self.assertEqual([words(answer) for answer in asyncio.run(at_once())], expected)

    def test_a_list_of_prompts_is_each_prompt(self):
        together = ask(self.client, prompts(5))
        self.assertEqual(words(together), sum([words(ask(self.client, p)) for p in prompts(5)], []))

    def test_errors_are_the_clients_own(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            ask(self.client, [5], temperature=-1)
        self.assertEqual(caught.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as caught:
            ask(self.client, [5], best_of=3)
        self.assertEqual((caught.exception.param, caught.exception.code),
                         ("best_of", "unsupported_parameter"))
        with self.assertRaises(openai.NotFoundError):
            self.client.completions.create(model="other", prompt=[5])
        with self.server.client(key="wrong") as stranger:
            with self.assertRaises(openai.AuthenticationError):
                stranger.models.list()

    def test_a_receipt_is_verified(self):
        answer = self.client.completions.create(
            model="tiny-llama", prompt=prompts(2), max_tokens=5,
            extra_body={"return_receipt": True, "top_k": 40, "min_p": 0.01})
        lines = "".join(json.dumps(receipt) + "\n" for receipt in answer.receipts)
        verified = subprocess.run([PROGRAM, "verify", "-", "--model", TINY, "--device", "cpu"],
                                  input=lines, capture_output=True, text=True, check=False)
        self.assertEqual(verified.returncode, 0, verified.stdout + verified.stderr)


class FullQueueTest(unittest.TestCase):
    def test_more_than_the_queue_holds_is_a_rate_limit(self):
        server = Server(TINY, "--max-num-seqs", "1", "--max-waiting", "0")
        with server.client() as client:
            stream = client.completions.create(model="tiny-llama", prompt=[5], max_tokens=400,
                                               stream=True, extra_body={"ignore_eos": True})
            next(iter(stream))
            with self.assertRaises(openai.RateLimitError) as caught:
                ask(client, [5])
            self.assertEqual(caught.exception.response.headers["retry-after"], "1")
            stream.close()
        self.assertEqual(server.stop(), 0)


MODEL = serving.smollm2()


@unittest.skipIf(MODEL is None, "SmolLM2 is not there; scripts/fetch_model fetches it")
class SmolLm2Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server(MODEL, "--served-model-name", "smollm2")
        cls.client = cls.server.client()

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        assert cls.server.stop() == 0

    def complete(self, **more):
        return self.client.completions.create(model="smollm2", prompt="The capital of France is",
                                              max_tokens=8, temperature=0, **more)

    def test_text_streamed_is_text_whole(self):
        whole = self.complete().choices[0].text
        self.assertIn("Paris", whole)
        self.assertEqual("".join(chunk.choices[0].text for chunk in self.complete(stream=True)),
                         whole)

    def test_a_stop_string_ends_the_text(self):
        choice = self.complete(stop=["is"]).choices[0]
        self.assertEqual((choice.finish_reason, choice.stop_reason), ("stop", "is"))
        self.assertNotIn("is", choice.text)

    def test_a_chat_goes_through_the_models_template(self):
        messages = [{"role": "user", "content": "What is the capital of France? One word."}]

        def ask_chat(**more):
            return self.client.chat.completions.create(model="smollm2", messages=messages,
                                                       max_completion_tokens=8, temperature=0,
                                                       **more)

        whole = ask_chat(logprobs=True, top_logprobs=2)
        choice = whole.choices[0]
        self.assertIn("Paris", choice.message.content)
        self.assertEqual(len(choice.logprobs.content[0].top_logprobs), 2)
        streamed = "".join(chunk.choices[0].delta.content for chunk in ask_chat(stream=True))
        self.assertEqual(streamed, choice.message.content)
        # SmolLM2's template has no place for tools, so they change nothing.
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        told = ask_chat(tools=[tool], tool_choice="auto",
                        extra_body={"chat_template_kwargs": {"enable_thinking": False}})
        self.assertEqual(told.choices[0].message.content, choice.message.content)
        self.assertEqual(told.usage.prompt_tokens, whole.usage.prompt_tokens)
        with self.assertRaises(openai.BadRequestError) as caught:
            ask_chat(tools=[tool], tool_choice="required")
        self.assertEqual((caught.exception.param, caught.exception.code),
                         ("tool_choice", "unsupported_parameter"))

    def test_echo_reports_the_prompt(self):
        choice = self.complete(echo=True, logprobs=2).choices[0]
        self.assertTrue(choice.text.startswith("The capital of France is"))
        self.assertEqual("".join(choice.logprobs.tokens), choice.text)
        self.assertIsNone(choice.logprobs.token_logprobs[0])


if __name__ == "__main__":
    unittest.main()
