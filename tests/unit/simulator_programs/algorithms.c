/* Ordinary compiled code: calls, recursion, switches, structures, floats, string functions. */
#include "program.h"

typedef struct Node {
  struct Node *left, *right;
  int32_t key;
} Node;
static Node nodes[300];
static int used;

static Node* Insert(Node* root, int32_t key) {
  if (root == 0) {
    Node* node = &nodes[used++];
    node->left = node->right = 0;
    node->key = key;
    return node;
  }
  if (key < root->key) {
    root->left = Insert(root->left, key);
  } else {
    root->right = Insert(root->right, key);
  }
  return root;
}
static uint32_t Walk(const Node* node, uint32_t hash) {
  if (node == 0) return hash;
  hash = Walk(node->left, hash);
  hash = hash * 31 + (uint32_t)node->key;
  return Walk(node->right, hash);
}

static int32_t image[16][16], kernel[3][3], result[14][14];
static uint32_t Convolve(void) {
  uint32_t hash = 1;
  for (int y = 0; y < 16; ++y)
    for (int x = 0; x < 16; ++x) image[y][x] = (int32_t)(Random() >> 24) - 128;
  for (int i = 0; i < 9; ++i) kernel[i / 3][i % 3] = (int32_t)(Random() >> 24) - 128;
  for (int y = 0; y < 14; ++y) {
    for (int x = 0; x < 14; ++x) {
      int32_t sum = 0;
      for (int i = 0; i < 9; ++i) sum += image[y + i / 3][x + i % 3] * kernel[i / 3][i % 3];
      result[y][x] = sum >> 5;
      hash = hash * 31 + (uint32_t)result[y][x];
    }
  }
  return hash;
}

static uint32_t Interpreter(void) {
  int32_t stack[16];
  int depth = 0;
  uint32_t hash = 1;
  for (int i = 0; i < 3000; ++i) {
    int32_t a = depth > 0 ? stack[depth - 1] : 1, b = depth > 1 ? stack[depth - 2] : 3;
    switch (Random() % 9) {
      case 0:
        if (depth < 16) stack[depth++] = (int32_t)Random();
        break;
      case 1:
        if (depth < 16) stack[depth++] = i;
        break;
      case 2:
        if (depth > 1) {
          stack[--depth - 1] = (int32_t)((uint32_t)a + (uint32_t)b);
        }
        break;
      case 3:
        if (depth > 1) {
          stack[--depth - 1] = (int32_t)((uint32_t)a * (uint32_t)b);
        }
        break;
      case 4:
        if (depth > 1 && b != 0 && b != -1) {
          stack[--depth - 1] = a / b;
        }
        break;
      case 5:
        if (depth > 1 && b != 0 && b != -1) {
          stack[--depth - 1] = a % b;
        }
        break;
      case 6:
        if (depth > 0) stack[depth - 1] = a >> (i & 31);
        break;
      case 7:
        if (depth > 0) stack[depth - 1] = a < 0 ? ~a : a ^ 0x5A5A;
        break;
      default:
        if (depth > 0) hash = hash * 33 + (uint32_t)stack[--depth];
        break;
    }
  }
  return hash;
}

static uint32_t Newton(void) {
  float sum = 0;
  for (int i = 1; i < 200; ++i) {
    float x = (float)i, r = x * 0.5f;
    for (int k = 0; k < 6; ++k) r = 0.5f * (r + x / r);
    sum += r * (i & 1 ? 1.0f : -0.75f);
  }
  union {
    float f;
    uint32_t u;
  } bits;
  bits.f = sum;
  return bits.u;
}

static char text[200], copy[200];
static uint32_t Strings(void) {
  uint32_t hash = 1;
  for (int round = 0; round < 50; ++round) {
    uint32_t n = Random() % 150, from = Random() % 40;
    for (uint32_t i = 0; i < n; ++i) text[i] = (char)(Random() >> 25);
    for (uint32_t i = 0; i < n; ++i) copy[i + from] = text[i];
    for (uint32_t i = 0; i < 200; ++i) hash = hash * 31 + (uint8_t)copy[i];
  }
  return hash;
}

int main(void) {
  Node* root = 0;
  for (int i = 0; i < 300; ++i) root = Insert(root, (int32_t)Random() >> 8);
  Print("tree", Walk(root, 1));
  Print("convolve", Convolve());
  Print("interpreter", Interpreter());
  Print("newton", Newton());
  Print("strings", Strings());
  return 0;
}
